//! As much of JSON Schema 2020-12 as the schema of the configuration uses.
//!
//! Knows no configuration. A keyword that it does not know is a panic, so that nothing is taken for checked that is not.

use std::cell::RefCell;
use std::collections::HashMap;

use regex_lite::Regex;
use serde_json::{Map, Value};

/// What of a value the schema refuses; nothing if it is right.
pub fn errors(schema: &Value, value: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    Checker { root: schema }.check(schema, value, "", &mut errors);
    errors
}

struct Checker<'a> {
    root: &'a Value,
}

impl Checker<'_> {
    fn check(&self, schema: &Value, value: &Value, at: &str, errors: &mut Vec<String>) {
        let Value::Object(keywords) = schema else {
            assert_eq!(schema, &Value::Bool(false), "a schema is a map or `false`");
            return errors.push(format!("{at}: must not be there"));
        };
        for (keyword, rule) in keywords {
            match keyword.as_str() {
                "$schema" | "$id" | "$defs" | "title" | "description" | "default" | "examples" => {}
                "$ref" => {
                    let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
                    self.check(self.root.pointer(pointer).unwrap(), value, at, errors);
                }
                "oneOf" => self.one_of(rule.as_array().unwrap(), value, at, errors),
                "not" => {
                    if self.is_right(rule, value) {
                        errors.push(format!("{at}: is what it must not be"));
                    }
                }
                _ => match value {
                    Value::Object(entries) if self.about_map(keyword, rule, keywords, entries, at, errors) => {}
                    Value::Array(items) if self.about_list(keyword, rule, items, at, errors) => {}
                    _ => assert_scalar(keyword, rule, value, at, errors),
                },
            }
        }
    }

    fn is_right(&self, schema: &Value, value: &Value) -> bool {
        let mut errors = Vec::new();
        self.check(schema, value, "", &mut errors);
        errors.is_empty()
    }

    fn one_of(&self, forms: &[Value], value: &Value, at: &str, errors: &mut Vec<String>) {
        let right = forms.iter().filter(|form| self.is_right(form, value)).count();
        if right != 1 {
            errors.push(format!("{at}: {right} of {} forms fit", forms.len()));
        }
    }

    /// Whether the keyword is about maps.
    fn about_map(
        &self,
        keyword: &str,
        rule: &Value,
        keywords: &Map<String, Value>,
        entries: &Map<String, Value>,
        at: &str,
        errors: &mut Vec<String>,
    ) -> bool {
        let of = |keyword: &str| keywords.get(keyword).and_then(Value::as_object);
        let fits_pattern = |name: &str| of("patternProperties").and_then(|rules| rules.iter().find(|(own, _)| matches(own, name)));
        match keyword {
            "properties" => {
                for (name, schema) in rule.as_object().unwrap() {
                    if let Some(value) = entries.get(name) {
                        self.check(schema, value, &format!("{at}/{name}"), errors);
                    }
                }
            }
            "patternProperties" => {
                for (name, value) in entries {
                    if let Some((_, schema)) = fits_pattern(name) {
                        self.check(schema, value, &format!("{at}/{name}"), errors);
                    }
                }
            }
            "additionalProperties" => {
                let is_known = |name: &str| of("properties").is_some_and(|own| own.contains_key(name)) || fits_pattern(name).is_some();
                for (name, value) in entries.iter().filter(|(name, _)| !is_known(name)) {
                    self.check(rule, value, &format!("{at}/{name}"), errors);
                }
            }
            "propertyNames" => entries.keys().for_each(|name| self.check(rule, &name.as_str().into(), &format!("{at}/{name}"), errors)),
            "required" => {
                let missing = rule.as_array().unwrap().iter().filter(|name| !entries.contains_key(name.as_str().unwrap()));
                errors.extend(missing.map(|name| format!("{at}: {name} is missing")));
            }
            _ => return false,
        }
        true
    }

    /// Whether the keyword is about lists.
    fn about_list(&self, keyword: &str, rule: &Value, items: &[Value], at: &str, errors: &mut Vec<String>) -> bool {
        let limit = || usize::try_from(rule.as_u64().unwrap()).unwrap();
        match keyword {
            "items" => items.iter().enumerate().for_each(|(number, item)| self.check(rule, item, &format!("{at}/{number}"), errors)),
            "minItems" if items.len() < limit() => errors.push(format!("{at}: fewer than {rule} items")),
            "maxItems" if items.len() > limit() => errors.push(format!("{at}: more than {rule} items")),
            "minItems" | "maxItems" => {}
            _ => return false,
        }
        true
    }
}

/// Rules for scalars, and those for values of another type, which say nothing about this one.
fn assert_scalar(keyword: &str, rule: &Value, value: &Value, at: &str, errors: &mut Vec<String>) {
    let is_broken = match keyword {
        "type" => !types(rule).any(|name| is_of_type(name, value)),
        "enum" => !rule.as_array().unwrap().contains(value),
        "pattern" => value.as_str().is_some_and(|text| !matches(rule.as_str().unwrap(), text)),
        "maxLength" => value.as_str().is_some_and(|text| text.chars().count() > usize::try_from(rule.as_u64().unwrap()).unwrap()),
        "minimum" => value.as_f64().is_some_and(|number| number < rule.as_f64().unwrap()),
        "maximum" => value.as_f64().is_some_and(|number| number > rule.as_f64().unwrap()),
        "properties" | "patternProperties" | "additionalProperties" | "propertyNames" | "required" | "items" | "minItems" | "maxItems" => {
            false
        }
        unknown => panic!("the keyword {unknown} is not known"),
    };
    if is_broken {
        errors.push(format!("{at}: {value} breaks {keyword} {rule}"));
    }
}

fn types(rule: &Value) -> impl Iterator<Item = &str> {
    let list = rule.as_array().map_or(std::slice::from_ref(rule), Vec::as_slice);
    list.iter().map(|name| name.as_str().unwrap())
}

fn is_of_type(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        unknown => panic!("the type {unknown} is not known"),
    }
}

/// Patterns are few, and building one takes longer than all that is asked of it.
fn matches(pattern: &str, text: &str) -> bool {
    thread_local! {
        static BUILT: RefCell<HashMap<String, Regex>> = RefCell::default();
    }
    BUILT.with_borrow_mut(|built| match built.get(pattern) {
        Some(regex) => regex.is_match(text),
        None => built.entry(pattern.to_owned()).or_insert(Regex::new(pattern).unwrap()).is_match(text),
    })
}
