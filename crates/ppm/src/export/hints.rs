//! What a service says of itself below `x-export`: what only platforms want to know, and the daemon passes over.
//!
//! Wrong values are left out and remarked with their line, as what does not map is.

use std::collections::{BTreeMap, BTreeSet};

use crate::import::draft::shown;
use crate::import::tree::{self, Node};

/// What may stand there.
const KEYS: [&str; 5] = ["image", "replicas", "ports", "expose", "volumes"];

/// What was said of one service.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// What its containers are made from, instead of `--image`.
    pub image: Option<String>,
    /// How many of it there are, where that is more or less than here.
    pub replicas: Option<usize>,
    /// Where it listens for those outside.
    pub ports: Vec<Port>,
    /// Where it listens for the others.
    pub expose: Vec<Port>,
    /// As Compose writes them: `data:/var/lib/data`.
    pub volumes: Vec<String>,
}

/// A port, and by which number it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    pub own: u16,
    pub published: u16,
    /// The key that says so.
    pub key: &'static str,
}

impl Port {
    /// Reached by its own number.
    pub const fn same(own: u16, key: &'static str) -> Port {
        Port { own, published: own, key }
    }
}

/// Of services that say nothing.
pub static NONE: Hints = Hints { image: None, replicas: None, ports: Vec::new(), expose: Vec::new(), volumes: Vec::new() };

/// A value that was left out: of which service, its key, and why.
pub type LeftOut = (String, String, String);

/// The hints of all services that have some.
pub fn read(tree: &Node) -> (BTreeMap<String, Hints>, Vec<LeftOut>) {
    let (mut found, mut left_out) = (BTreeMap::new(), Vec::new());
    for service in tree.get("services").and_then(Node::items).unwrap_or_default() {
        let (Some(name), Some(node)) = (service.get("name").and_then(Node::scalar), service.get("x-export")) else { continue };
        let mut hints = Hints::default();
        match node.entries() {
            Some(entries) => {
                for (key, value) in entries {
                    let reasons = hints.take(&key.text, value).into_iter();
                    left_out.extend(reasons.map(|why| (name.to_owned(), format!("x-export.{}", key.text), why)));
                }
            }
            None if node.is_null() => {}
            None => left_out.push((name.to_owned(), "x-export".to_owned(), format!("a map is wanted, {} was left out", node.kind()))),
        }
        found.insert(name.to_owned(), hints);
    }
    (found, left_out)
}

impl Hints {
    /// Takes what is right of a value, and gives why the rest was left out. Nothing is no value: so a merged one is taken back.
    fn take(&mut self, key: &str, value: &Node) -> Vec<String> {
        let mut wrong = Vec::new();
        match key {
            _ if value.is_null() && KEYS.contains(&key) => {}
            "image" => self.image = image(value).map_err(|why| wrong.push(why)).ok(),
            "replicas" => self.replicas = replicas(value).map_err(|why| wrong.push(why)).ok(),
            "ports" => self.ports = each(value, &mut wrong, port),
            "expose" => self.expose = each(value, &mut wrong, exposed),
            "volumes" => self.volumes = each(value, &mut wrong, volume),
            _ => wrong.push(format!("there is no such key: {}", KEYS.join(", "))),
        }
        wrong
    }

    /// Where it is said to listen, each once.
    pub fn all_ports(&self) -> Vec<Port> {
        let mut known = BTreeSet::new();
        self.ports.iter().chain(&self.expose).copied().filter(|port| known.insert((port.own, port.published))).collect()
    }
}

/// One or a list; what is right of it, each once.
fn each<T: Clone + Ord>(value: &Node, wrong: &mut Vec<String>, read: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
    let items = value.items().unwrap_or(std::slice::from_ref(value)).iter();
    let right = items.filter_map(|item| tree::scalar(item).and_then(&read).map_err(|why| wrong.push(why)).ok());
    let mut known = BTreeSet::new();
    right.filter(|item| known.insert(item.clone())).collect()
}

fn image(value: &Node) -> Result<String, String> {
    let text = tree::scalar(value)?;
    let is_one = !text.is_empty() && !text.contains(|letter: char| letter.is_whitespace() || letter.is_control());
    is_one.then(|| text.to_owned()).ok_or_else(|| format!("{} is not the name of an image; it was left out", shown(text)))
}

/// As many as Kubernetes can count.
fn replicas(value: &Node) -> Result<usize, String> {
    let number = i32::try_from(tree::number(value)?).ok().and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| format!("there are at most {}; it was left out", i32::MAX))
}

/// `8080`, or `80:8080`: the number by which it is reached, and its own.
fn port(text: &str) -> Result<Port, String> {
    let (published, own) = text.split_once(':').unwrap_or((text, text));
    let both = number(own).zip(number(published));
    let port = both.map(|(own, published)| Port { own, published, key: "x-export.ports" });
    port.ok_or_else(|| format!("{} is not a port from 1 to 65535, or two as 80:8080; it was left out", shown(text)))
}

fn exposed(text: &str) -> Result<Port, String> {
    let port = number(text).map(|own| Port::same(own, "x-export.expose"));
    port.ok_or_else(|| format!("{} is not a port from 1 to 65535; it was left out", shown(text)))
}

fn number(text: &str) -> Option<u16> {
    text.parse().ok().filter(|number| *number > 0)
}

/// `data:/var/lib/data`, `./conf:/etc/app:ro`, or a folder of the container alone.
fn volume(text: &str) -> Result<String, String> {
    let (source, rest) = source_of(text);
    let target = rest.unwrap_or(source);
    let is_one = !source.is_empty() && target.starts_with(['/', '$']) && !text.contains(char::is_control);
    is_one.then(|| text.to_owned()).ok_or_else(|| format!("{} is not a volume such as data:/var/lib/data; it was left out", shown(text)))
}

/// What stands before the first colon that is in no variable of Compose (`${DATA:-data}`), and what behind it.
pub fn source_of(volume: &str) -> (&str, Option<&str>) {
    let mut depth = 0_usize;
    for (at, letter) in volume.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ':' if depth == 0 => return (&volume[..at], Some(&volume[at + 1..])),
            _ => {}
        }
    }
    (volume, None)
}
