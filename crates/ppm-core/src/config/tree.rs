//! YAML as a tree whose scalars can be found again in the text.
//!
//! The parser keeps its marks to itself but for errors: an error made while it reads a scalar tells where that scalar
//! stands. So the values that messages point at are numbered, and when a position is wanted the text is parsed once
//! more and each of them fails on purpose. Aliases are expanded within a budget and merge keys applied on the way.
//! Invariant: the same text numbers its values the same each time.

use crate::gather::Gather;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};

use super::problem::{Mark, Source, Token};

/// More values than [`MAX_ITEMS`] make; a few aliases can stand for billions.
const MAX_VALUES: u32 = 500_000;

/// How many lines, and items within lines, a file may have: 25 of them for each of the most services that there
/// may be. The parser reads the whole document before it gives out anything, and keeps some hundred bytes of each.
const MAX_ITEMS: usize = 250_000;

/// How many `- ` or `? ` may begin a line, each a level deeper: the parser takes hundreds of bytes for every level before
/// it finds that there are too many.
const MAX_DASHES: usize = 100;

/// How many bytes all texts may have together, aliases expanded.
const MAX_TEXT: usize = 32 << 20;

/// Brackets open at the same time: the parser takes quadratic time in them, and nothing here needs more than a few.
const MAX_BRACKETS: usize = 1000;

/// `%` directives at the start: the parser takes quadratic time in them, and nobody needs any.
const MAX_DIRECTIVES: usize = 10;

/// In which collection a service is an item: the list in the root map.
const SERVICE_DEPTH: usize = 2;

/// The number of a scalar, from 1, in the order of reading; 0: before all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At(u32);

/// A value, and the scalar to point at for it: itself, or the first one inside, or else the last one before.
#[derive(Debug)]
pub(super) struct Node {
    pub at: At,
    pub value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

impl Value {
    pub(super) fn as_text(&self) -> Option<&str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn as_int(&self) -> Option<i128> {
        if let Value::Int(number) = self { Some(*number) } else { None }
    }

    pub(super) fn as_map(&self) -> Option<&[(Key, Node)]> {
        if let Value::Map(entries) = self { Some(entries) } else { None }
    }

    pub(super) fn as_list(&self) -> Option<&[Node]> {
        if let Value::List(nodes) = self { Some(nodes) } else { None }
    }

    /// Whether nothing is written where a value could be; where all items may be missing it stands for none of them.
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }
}

/// A key, always taken as text.
#[derive(Debug)]
pub(super) struct Key {
    pub at: At,
    pub text: String,
}

#[derive(Debug)]
pub(super) struct Tree {
    pub root: Node,
    /// The second and later of equal keys in one map.
    pub duplicates: Vec<Key>,
    /// Where the first scalar of each service stands.
    pub services: BTreeMap<At, Token>,
}

/// Why there is no tree.
#[derive(Debug)]
pub(super) struct NotYaml {
    pub message: String,
    pub hint: Option<String>,
    /// None: the file as a whole.
    pub mark: Option<Mark>,
    pub extent: Extent,
}

/// How much is wrong at a mark.
#[derive(Clone, Copy, Debug)]
pub(super) enum Extent {
    Character,
    Word,
}

impl NotYaml {
    fn new(message: impl Into<String>) -> Self {
        NotYaml { message: message.into(), hint: None, mark: None, extent: Extent::Character }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        NotYaml { hint: Some(hint.into()), ..self }
    }
}

/// Reads a document; an empty one is null.
pub(super) fn read(text: &str) -> Result<Tree, NotYaml> {
    refuse_slow(text)?;
    let mut pass = Pass::new(Wanted::ServiceStarts);
    match (NodeSeed { pass: &mut pass, depth: 0 }).deserialize(serde_yaml::Deserializer::from_str(text)) {
        Ok(root) => Ok(Tree { root, duplicates: pass.duplicates, services: pass.found }),
        Err(error) => Err(not_yaml(&error, pass.refusal, text)),
    }
}

/// Finds scalars again in a text that has been read.
pub(super) fn locate(text: &str, wanted: &BTreeSet<At>) -> BTreeMap<At, Token> {
    let mut pass = Pass::new(Wanted::These(wanted));
    // What could fail has failed before; what was found until then is good in any case.
    let _ = (NodeSeed { pass: &mut pass, depth: 0 }).deserialize(serde_yaml::Deserializer::from_str(text));
    pass.found
}

/// Refuses what the parser would take minutes for, by a rough count that strings may confuse but not by much.
pub(super) fn refuse_slow(text: &str) -> Result<(), NotYaml> {
    let mut open: usize = 0;
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => continue,
        }
        if open > MAX_BRACKETS {
            return Err(NotYaml::new(format!("more than {MAX_BRACKETS} brackets are open at once")));
        }
    }
    let (mut directives, mut items) = (0, 0);
    for line in text.split(['\n', '\r']) {
        directives += usize::from(line.starts_with('%'));
        let content = line.trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let dashes = dashes(content);
        items += 1 + dashes + content.bytes().filter(|byte| matches!(byte, b',' | b'[' | b'{' | b'&')).count();
        if dashes > MAX_DASHES {
            return Err(NotYaml::new(format!("more than {MAX_DASHES} lists or maps begin in one line")));
        }
    }
    if directives > MAX_DIRECTIVES {
        return Err(NotYaml::new(format!("more than {MAX_DIRECTIVES} lines begin with `%`")));
    }
    if items > MAX_ITEMS {
        let message = format!("the configuration has more than {MAX_ITEMS} lines and items");
        return Err(NotYaml::new(message).hint("put large data into files of their own: `env_file`, `{file: PATH}`"));
    }
    Ok(())
}

/// How many `- ` or `? ` a line begins with.
fn dashes(mut content: &str) -> usize {
    let mut dashes = 0;
    while let Some(rest) = content.strip_prefix(['-', '?'])
        && rest.starts_with([' ', '\t'])
    {
        dashes += 1;
        content = rest.trim_start();
    }
    dashes
}

/// Which scalars have to be found.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    /// The first key of each service.
    ServiceStarts,
    These(&'a BTreeSet<At>),
}

/// What one reading of the text collects.
struct Pass<'a> {
    wanted: Wanted<'a>,
    found: BTreeMap<At, Token>,
    duplicates: Vec<Key>,
    values: u32,
    bytes: usize,
    last_scalar: At,
    /// Why we stopped the parser, if it was us.
    refusal: Option<String>,
}

impl<'a> Pass<'a> {
    fn new(wanted: Wanted<'a>) -> Self {
        let (found, duplicates, last_scalar) = (BTreeMap::new(), Vec::new(), At::default());
        Pass { wanted, found, duplicates, values: 0, bytes: 0, last_scalar, refusal: None }
    }

    fn number<E: Error>(&mut self) -> Result<At, E> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(self.refuse(format!("the configuration has more than {MAX_VALUES} values, aliases expanded")));
        }
        Ok(At(self.values))
    }

    fn keep<E: Error>(&mut self, text: &str) -> Result<String, E> {
        self.bytes += text.len();
        if self.bytes > MAX_TEXT {
            return Err(self.refuse(format!("the configuration has more than {} MiB of text, aliases expanded", MAX_TEXT >> 20)));
        }
        Ok(text.to_owned())
    }

    fn refuse<E: Error>(&mut self, why: String) -> E {
        self.refusal = Some(why);
        E::custom("refused")
    }

    /// Reads a scalar as text; at a wanted one the parser is made to tell where it stands.
    fn trap<'de, D: Deserializer<'de>>(&mut self, deserializer: D, at: At) -> Result<String, D::Error> {
        let mut text = None;
        let Err(error) = deserializer.deserialize_str(Trap(&mut text));
        let Some(text) = text else { return Err(error) };
        self.found.insert(at, Token { mark: mark_in(&error.to_string()), text: text.clone() });
        Ok(text)
    }
}

/// Takes a text and fails.
struct Trap<'t>(&'t mut Option<String>);

impl Visitor<'_> for Trap<'_> {
    type Value = Infallible;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Infallible, E> {
        *self.0 = Some(text.to_owned());
        Err(E::custom("asked for its place"))
    }
}

/// The place at the end of an error's text; the parser does not mention the first line's first column.
fn mark_in(message: &str) -> Mark {
    let place = message.rsplit_once(" at line ").and_then(|(_, place)| place.split_once(" column "));
    let numbers = place.and_then(|(line, column)| Some(Mark { line: line.parse().ok()?, column: column.parse().ok()? }));
    numbers.unwrap_or(Mark { line: 1, column: 1 })
}

struct KeySeed<'p, 'a> {
    pass: &'p mut Pass<'a>,
    starts_service: bool,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_, '_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        let at = self.pass.number()?;
        self.pass.last_scalar = at;
        let trapped = match self.pass.wanted {
            Wanted::ServiceStarts => self.starts_service,
            Wanted::These(wanted) => wanted.contains(&at),
        };
        let text = if trapped { self.pass.trap(deserializer, at)? } else { deserializer.deserialize_str(KeyVisitor(self.pass))? };
        Ok(Key { at, text })
    }
}

struct KeyVisitor<'p, 'a>(&'p mut Pass<'a>);

impl Visitor<'_> for KeyVisitor<'_, '_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        self.0.keep(text)
    }
}

struct NodeSeed<'p, 'a> {
    pass: &'p mut Pass<'a>,
    /// How many collections it is in.
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_, '_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        let at = self.pass.number()?;
        if let Wanted::These(wanted) = self.pass.wanted
            && wanted.contains(&at)
        {
            self.pass.last_scalar = at;
            return Ok(Node { at, value: Value::Text(self.pass.trap(deserializer, at)?) });
        }
        deserializer.deserialize_any(NodeVisitor { pass: self.pass, at, depth: self.depth })
    }
}

struct NodeVisitor<'p, 'a> {
    pass: &'p mut Pass<'a>,
    at: At,
    depth: usize,
}

impl NodeVisitor<'_, '_> {
    fn scalar(self, value: Value) -> Node {
        self.pass.last_scalar = self.at;
        Node { at: self.at, value }
    }
}

impl<'de> Visitor<'de> for NodeVisitor<'_, '_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(self.scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node { at: At::default(), value: Value::Null }) // the empty document: there is nothing to point at
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(self.scalar(Value::Bool(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(self.scalar(Value::Int(value.into())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(self.scalar(Value::Int(value.into())))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        Ok(self.scalar(i128::try_from(value).map_or(Value::Float(f64::MAX), Value::Int)))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(self.scalar(Value::Int(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(self.scalar(Value::Float(value)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        let text = self.pass.keep(text)?;
        Ok(self.scalar(Value::Text(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut nodes: Vec<Node> = Vec::new();
        while let Some(node) = access.next_element_seed(NodeSeed { pass: &mut *self.pass, depth: self.depth + 1 })? {
            nodes.push(node);
        }
        let at = nodes.first().map_or(self.pass.last_scalar, |first| first.at);
        Ok(Node { at, value: Value::List(nodes) })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        loop {
            let starts_service = entries.is_empty() && self.depth == SERVICE_DEPTH;
            let Some(key) = access.next_key_seed(KeySeed { pass: &mut *self.pass, starts_service })? else { break };
            let node = access.next_value_seed(NodeSeed { pass: &mut *self.pass, depth: self.depth + 1 })?;
            entries.push((key, node));
        }
        let at = entries.first().map_or(self.pass.last_scalar, |(key, _)| key.at);
        self.pass.duplicates.extend(remove_duplicates(&mut entries));
        Ok(Node { at, value: Value::Map(merge(entries)) })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _access: A) -> Result<Node, A::Error> {
        Err(self.pass.refuse("tags like `!name` are not supported".into()))
    }
}

/// Takes out every entry whose key was there before.
fn remove_duplicates(entries: &mut Vec<(Key, Node)>) -> Vec<Key> {
    let mut sorted: Vec<&Key> = entries.iter().map(|(key, _)| key).collect();
    sorted.sort_by(|a, b| a.text.cmp(&b.text)); // stable: the first of equal keys stays the first
    let again = |pair: &[&Key]| matches!(pair, [first, second] if first.text == second.text);
    let doubled: BTreeSet<At> = sorted.windows(2).filter(|pair| again(pair)).filter_map(|pair| pair.last().map(|key| key.at)).gather();
    let mut keys = Vec::new();
    if !doubled.is_empty() {
        let (removed, kept) = std::mem::take(entries).into_iter().partition(|(key, _)| doubled.contains(&key.at));
        *entries = kept;
        keys.extend(Vec::into_iter(removed).map(|(key, _)| key));
    }
    keys
}

/// Replaces `<<` by what it merges in: own entries win, then the maps in their order. A `<<` that is neither a map nor
/// a list of maps stays for whoever reads the map to complain about.
fn merge(mut entries: Vec<(Key, Node)>) -> Vec<(Key, Node)> {
    let Some(at) = entries.iter().position(|(key, node)| key.text == "<<" && can_be_merged(node)) else { return entries };
    let (_, node) = entries.remove(at);
    let sources = if let Value::List(nodes) = node.value { nodes } else { vec![node] };
    let mut known: BTreeSet<String> = entries.iter().map(|(key, _)| key.text.clone()).gather();
    for source in sources {
        if let Value::Map(merged) = source.value {
            entries.extend(merged.into_iter().filter(|(key, _)| known.insert(key.text.clone())));
        }
    }
    entries
}

fn can_be_merged(node: &Node) -> bool {
    let all_maps = |nodes: &[Node]| nodes.iter().all(|node| node.value.as_map().is_some());
    node.value.as_map().is_some() || node.value.as_list().is_some_and(all_maps)
}

/// The parser's words, and what they mostly mean.
fn not_yaml(error: &serde_yaml::Error, refusal: Option<String>, text: &str) -> NotYaml {
    let mark = error.location().map(|place| Mark { line: place.line(), column: place.column() });
    if let Some(refusal) = refusal {
        return NotYaml { mark, extent: Extent::Word, ..NotYaml::new(refusal) };
    }
    let shown = error.to_string();
    let words = |known: &str| shown.contains(known);
    if words("more than one document") {
        let not_yaml = NotYaml::new("a configuration is one YAML document, this file has more").hint("remove the second `---`");
        return NotYaml { mark: second_document(text), extent: Extent::Word, ..not_yaml };
    }
    let known = if words("invalid type") {
        Some(NotYaml::new("a key must be text, not a list or a map").hint("put what begins with a bracket or a brace in quotes"))
    } else if words("recursion limit") {
        Some(NotYaml::new("values are nested too deeply, or an alias refers to itself"))
    } else if words("repetition limit") {
        Some(NotYaml::new("aliases are used too often"))
    } else if words("unknown anchor") {
        Some(NotYaml {
            extent: Extent::Word,
            ..NotYaml::new("there is no such anchor before this alias").hint("text that begins with `*` needs quotes")
        })
    } else {
        None
    };
    known.map_or_else(|| bad_syntax(&shown, mark, text), |known| NotYaml { mark, ..known })
}

/// What the parser has stumbled over, and where.
fn bad_syntax(shown: &str, mark: Option<Mark>, text: &str) -> NotYaml {
    let (problem, context) = shown.split_once(", while ").unwrap_or((shown, ""));
    let problem = problem.split(" at line ").next().unwrap_or_default().split(" at position ").next().unwrap_or_default();
    let begin = context.contains(" at line ").then(|| mark_in(context));
    let not_yaml = NotYaml { mark, ..NotYaml::new(format!("not valid YAML: {problem}")) };
    if problem.contains("control characters") {
        return NotYaml { mark: first_control(text), ..not_yaml };
    }
    if context.contains("quoted scalar") && problem.contains("end of stream") {
        return NotYaml { mark: begin.or(mark), ..NotYaml::new("not valid YAML: the quote that begins here is not closed") };
    }
    if context.contains("flow ") && mark.is_some_and(|mark| mark.is_behind(text)) {
        return NotYaml { mark: begin.or(mark), ..NotYaml::new("not valid YAML: the bracket that begins here is not closed") };
    }
    if mark.is_some_and(|mark| mark.char_in(text) == Some('\t')) {
        return not_yaml.hint("indent with spaces, YAML does not allow tabs there");
    }
    if problem.contains("mapping values are not allowed") {
        return not_yaml.hint("put a value that contains `: ` in quotes, or look at the indentation");
    }
    if problem.contains("did not find expected node content") {
        return not_yaml.hint("put a value that begins with a bracket in quotes, like \"[::1]:9180\"");
    }
    if problem.contains("cannot start any token") || context.contains("scanning an alias") || context.contains("scanning an anchor") {
        return not_yaml.hint("put a value that begins with a sign in quotes");
    }
    let collections = [("flow sequence", "list"), ("flow mapping", "map"), ("block mapping", "map"), ("block collection", "list")];
    let within = collections.iter().find(|(own, _)| context.contains(own)).zip(begin.or(mark));
    match within {
        Some(((_, kind), Mark { line, column })) => {
            not_yaml.hint(format!("it is in a {kind} that begins in line {line}, column {column}: look at brackets and indentation"))
        }
        None => not_yaml,
    }
}

/// Where the first character stands that YAML does not allow.
fn first_control(text: &str) -> Option<Mark> {
    let wrong =
        |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}') || matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    let mut columns =
        (1..).zip(Source::new(text).lines).filter_map(|(line, text)| Some(Mark { line, column: text.chars().position(wrong)? + 1 }));
    columns.next()
}

/// Where the second document begins: at a `---` in the first column after something else has been said.
fn second_document(text: &str) -> Option<Mark> {
    let begins = |line: &str| line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
    let silent = |line: &str| line.trim().is_empty() || line.starts_with(['#', '%']);
    let mut lines = (1..).zip(Source::new(text).lines).skip_while(|(_, line)| silent(line)).skip(1);
    lines.find(|(_, line)| begins(line)).map(|(line, _)| Mark { line, column: 1 })
}
