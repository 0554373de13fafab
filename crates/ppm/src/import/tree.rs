//! YAML and JSON of others as a tree in which everything knows its line.
//!
//! The parser tells where something stands only in its errors: so each scalar is taken and then refused, and the parser goes
//! on behind it. All scalars become text as it is written, or as the parser understood it. Aliases are expanded within the
//! parser's own budget, and merge keys applied.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use ppm_core::config::{self, Problems, check_size_of_yaml};

use super::draft::shown;

/// More values than this are not looked at; a few aliases can stand for billions.
const MAX_VALUES: usize = 500_000;

/// A value and where it begins.
#[derive(Clone, Debug)]
pub struct Node {
    /// From 1.
    pub line: usize,
    pub value: Tree,
}

#[derive(Clone, Debug)]
pub enum Tree {
    Null,
    /// Text, a number or a boolean.
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key and where it stands.
#[derive(Clone, Debug)]
pub struct Key {
    pub line: usize,
    pub text: String,
}

impl Node {
    pub fn scalar(&self) -> Option<&str> {
        if let Tree::Scalar(text) = &self.value { Some(text) } else { None }
    }

    pub fn entries(&self) -> Option<&[(Key, Node)]> {
        if let Tree::Map(entries) = &self.value { Some(entries) } else { None }
    }

    pub fn items(&self) -> Option<&[Node]> {
        if let Tree::List(items) = &self.value { Some(items) } else { None }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.value, Tree::Null)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries()?.iter().find(|(own, _)| own.text == key).map(|(_, node)| node)
    }

    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Tree::Null => "nothing",
            Tree::Scalar(_) => "a text",
            Tree::List(_) => "a list",
            Tree::Map(_) => "a map",
        }
    }
}

/// A text, a number or a boolean as it is written, or why it was left out.
pub fn scalar(node: &Node) -> Result<&str, String> {
    node.scalar().ok_or_else(|| format!("a text is wanted, {} was left out", node.kind()))
}

/// `true` or `false`, or why it was left out.
pub fn boolean(node: &Node) -> Result<bool, String> {
    match scalar(node)? {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(format!("{} is neither true nor false; it was left out", shown(other))),
    }
}

/// A whole number, or why it was left out.
pub fn number(node: &Node) -> Result<u32, String> {
    let text = scalar(node)?;
    text.parse().map_err(|_| format!("{} is not a number; it was left out", shown(text)))
}

/// Reads JSON or YAML; `file` is its name in messages.
///
/// # Errors
/// It is neither, or too much.
pub fn read(text: &str, file: &str) -> Result<Node, Problems> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_json = text.trim_start().starts_with(['{', '[']);
    if is_json {
        check_json(text, file)?;
    }
    check_size_of_yaml(text).map_err(|much| Problems::at(file, text, (1, 1), 1, much.message, much.hint.as_deref()))?;
    let mut pass = Pass::default();
    let outcome = NodeSeed { pass: &mut pass, line: 1 }.deserialize(serde_yaml::Deserializer::from_str(text));
    outcome.map_err(|error| {
        let place = error.location().map_or((1, 1), |place| (place.line(), place.column()));
        if let Some(why) = pass.refusal {
            return Problems::at(file, text, place, 1, why, Some("leave it out, and import the rest"));
        }
        // Where it is no YAML the core says that best.
        match config::parse(text, file) {
            Err(problems) => problems,
            Ok(_) => Problems::at(file, text, place, 1, format!("not valid YAML: {error}"), Some("look at brackets and indentation")),
        }
    })
}

fn check_json(text: &str, file: &str) -> Result<(), Problems> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = IgnoredAny::deserialize(&mut deserializer).and_then(|_| deserializer.end());
    read.map_err(|error| {
        let message = error.to_string();
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
        let hint = if text.contains("//") || text.contains("/*") {
            "JSON has no comments and no comma behind the last item: take them out"
        } else {
            "look at commas, quotes and brackets there and before it"
        };
        Problems::at(file, text, (error.line(), error.column().max(1)), 1, format!("not valid JSON: {message}"), Some(hint))
    })
}

#[derive(Default)]
struct Pass {
    values: usize,
    /// Why we stopped the parser, if it was us.
    refusal: Option<String>,
}

impl Pass {
    fn refuse<E: Error>(&mut self, why: &str) -> E {
        self.refusal = Some(why.to_owned());
        E::custom("refused")
    }
}

struct NodeSeed<'p> {
    pass: &'p mut Pass,
    /// The line of what it is in, for what has no scalar of its own.
    line: usize,
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        self.pass.values += 1;
        if self.pass.values > MAX_VALUES {
            return Err(self.pass.refuse(&format!("there are more than {MAX_VALUES} values, aliases expanded")));
        }
        let mut taken = None;
        match deserializer.deserialize_any(NodeVisitor { pass: self.pass, line: self.line, taken: &mut taken }) {
            Ok(node) => Ok(node),
            Err(error) => match taken {
                Some(value) => Ok(Node { line: line_in(&error.to_string()), value }),
                None => Err(error),
            },
        }
    }
}

/// The line at the end of an error's text; the parser does not mention the first line's first column.
fn line_in(message: &str) -> usize {
    let place = message.rsplit_once(" at line ").and_then(|(_, place)| place.split_once(" column "));
    place.and_then(|(line, _)| line.parse().ok()).unwrap_or(1)
}

struct NodeVisitor<'p, 't> {
    pass: &'p mut Pass,
    line: usize,
    taken: &'t mut Option<Tree>,
}

impl NodeVisitor<'_, '_> {
    fn take<E: Error>(self, value: Tree) -> Result<Node, E> {
        *self.taken = Some(value);
        Err(E::custom("asked for its place"))
    }
}

impl<'de> Visitor<'de> for NodeVisitor<'_, '_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        self.take(Tree::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        Ok(Node { line: self.line, value: Tree::Null })
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        self.take(Tree::Scalar(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        self.take(Tree::Scalar(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        self.take(Tree::Scalar(value.to_string()))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Node, E> {
        self.take(Tree::Scalar(value.to_string()))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Node, E> {
        self.take(Tree::Scalar(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        self.take(Tree::Scalar(value.to_string()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        self.take(Tree::Scalar(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items: Vec<Node> = Vec::new();
        while let Some(node) = access.next_element_seed(NodeSeed { pass: &mut *self.pass, line: self.line })? {
            items.push(node);
        }
        Ok(Node { line: items.first().map_or(self.line, |first| first.line), value: Tree::List(items) })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut known = BTreeMap::new();
        while let Some(key) = access.next_key_seed(NodeSeed { pass: &mut *self.pass, line: self.line })? {
            let line = key.line;
            let Some(text) = key.scalar().map(str::to_owned).or(key.is_null().then(|| "null".to_owned())) else {
                return Err(self.pass.refuse("a key must be text, not a list or a map"));
            };
            let node = access.next_value_seed(NodeSeed { pass: &mut *self.pass, line })?;
            // As in JSON and in most readers of YAML, the last of equal keys counts.
            match known.get(&text).and_then(|at: &usize| entries.get_mut(*at)).filter(|_| text != "<<") {
                Some(entry) => *entry = (Key { line, text }, node),
                None => {
                    known.insert(text.clone(), entries.len());
                    entries.push((Key { line, text }, node));
                }
            }
        }
        Ok(Node { line: entries.first().map_or(self.line, |(key, _)| key.line), value: Tree::Map(merge(entries)) })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _access: A) -> Result<Node, A::Error> {
        Err(self.pass.refuse("tags like `!name` are not supported"))
    }
}

/// Replaces `<<` by what it merges in: own entries win, then the maps in their order.
fn merge(entries: Vec<(Key, Node)>) -> Vec<(Key, Node)> {
    let (merging, mut entries): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(key, _)| key.text == "<<");
    let mut known: BTreeSet<String> =
        if merging.is_empty() { BTreeSet::new() } else { entries.iter().map(|(key, _)| key.text.clone()).collect() };
    for (_, node) in merging {
        let sources = if let Tree::List(items) = node.value { items } else { vec![node] };
        for source in sources {
            if let Tree::Map(merged) = source.value {
                entries.extend(merged.into_iter().filter(|(key, _)| known.insert(key.text.clone())));
            }
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(node: &Node) -> String {
        let line = node.line;
        match &node.value {
            Tree::Null => format!("{line}:null"),
            Tree::Scalar(text) => format!("{line}:{text}"),
            Tree::List(items) => format!("[{}]", items.iter().map(drawn).collect::<Vec<_>>().join(" ")),
            Tree::Map(entries) => {
                let entry = |(key, node): &(Key, Node)| format!("{}:{}={}", key.line, key.text, drawn(node));
                format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(" "))
            }
        }
    }

    fn tree(text: &str) -> String {
        drawn(&read(text, "x").unwrap())
    }

    #[test]
    fn everything_knows_its_line_in_yaml_and_in_json() {
        assert_eq!(tree("a: 1\nb:\n  - x\n  - y: ~\n    z: true\n"), "{1:a=1:1 2:b=[3:x {4:y=4:null 5:z=5:true}]}");
        assert_eq!(tree("{\n\t\"a\": [1,\n\t\t\"b\"],\n\t\"c\": {}\n}\n"), "{2:a=[2:1 3:b] 4:c={}}");
        assert_eq!(tree(""), "1:null");
        assert_eq!(tree("a"), "1:a");
    }

    #[test]
    fn what_is_shared_is_merged_in_and_the_last_of_equal_keys_counts() {
        assert_eq!(tree("x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\n"), "{1:x={1:a=1:1 1:b=1:2} 2:y={4:b=4:3 1:a=1:1}}");
        assert_eq!(tree("{\"a\": 1,\n\"a\": 2}"), "{2:a=2:2}");
    }

    #[test]
    fn what_is_neither_is_told_with_its_place() {
        let told = |text: &str| {
            let problems = read(text, "x").unwrap_err();
            let problem = &problems.list[0];
            format!("{}:{}: {}", problem.line, problem.column, problem.message)
        };
        assert_eq!(told("{\n \"a\": 1,\n}"), "3:1: not valid JSON: key must be a string");
        assert_eq!(told("{\"a\": 1"), "1:7: not valid JSON: EOF while parsing an object");
        assert_eq!(told("a: b: c\n"), "1:5: not valid YAML: mapping values are not allowed in this context");
        assert_eq!(told("a: !x {b: 1}\n"), "1:4: tags like `!name` are not supported");
        assert_eq!(told("[a]: 1"), "1:2: not valid JSON: expected value");
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(told(&deep), "1:1: more than 1000 brackets are open at once");
    }
}
