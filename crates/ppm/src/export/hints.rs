//! What a service says of itself below `x-export`: what only platforms want to know, and the daemon passes over.
//!
//! Wrong values are left out and remarked with their line, as what does not map is.

use std::collections::BTreeMap;

use crate::import::draft::shown;
use crate::import::tree::{self, Node};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    pub own: u16,
    pub published: u16,
}

impl Port {
    /// Reached by its own number.
    pub const fn same(own: u16) -> Port {
        Port { own, published: own }
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
        let mut leave_out = |key: &str, why: String| left_out.push((name.to_owned(), key.to_owned(), why));
        match node.entries() {
            Some(entries) => {
                for (key, value) in entries {
                    if let Err(why) = hints.take(&key.text, value) {
                        leave_out(&format!("x-export.{}", key.text), why);
                    }
                }
            }
            None if node.is_null() => {}
            None => leave_out("x-export", format!("a map is wanted, {} was left out", node.kind())),
        }
        found.insert(name.to_owned(), hints);
    }
    (found, left_out)
}

impl Hints {
    fn take(&mut self, key: &str, value: &Node) -> Result<(), String> {
        match key {
            "image" => self.image = Some(tree::scalar(value)?.to_owned()),
            "replicas" => {
                let replicas = tree::number(value)?;
                self.replicas = Some(usize::try_from(replicas).map_err(|error| error.to_string())?);
            }
            "ports" => self.ports = each(value, port)?,
            "expose" => self.expose = each(value, |text| number(text).map(Port::same))?,
            "volumes" => self.volumes = each(value, |text| Ok(text.to_owned()))?,
            _ => return Err("there is no such key: image, replicas, ports, expose, volumes".to_owned()),
        }
        Ok(())
    }
}

/// One or a list.
fn each<T>(value: &Node, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let one = |node| read(tree::scalar(node)?);
    value.items().map_or_else(|| Ok(vec![one(value)?]), |items| items.iter().map(one).collect())
}

/// `8080`, or `80:8080`: the number by which it is reached, and its own.
fn port(text: &str) -> Result<Port, String> {
    match text.split_once(':') {
        Some((published, own)) => Ok(Port { own: number(own)?, published: number(published)? }),
        None => number(text).map(Port::same),
    }
}

fn number(text: &str) -> Result<u16, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{} is not a port from 1 to 65535, or two as 80:8080; it was left out", shown(text)))
}
