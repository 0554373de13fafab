//! Words that this side does not know: a newer daemon may have more states, events and reasons than we.
//!
//! A client keeps such a word as it is and shows it, instead of refusing the line that holds it. The words lie in one
//! place for the whole program, so that values which may hold one stay as small as those which cannot; a daemon, which
//! only ever says what it knows, never touches it. Invariant: nobody can make it grow beyond [`MAX_WORDS`] words.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::de::{Error, Visitor};
use serde::{Serialize, Serializer};

/// How many different unknown words are told apart: far more than a newer daemon has.
const MAX_WORDS: u8 = 200;

/// How many bytes of a word are kept.
const MAX_LENGTH: usize = 64;

static WORDS: Mutex<Vec<Box<str>>> = Mutex::new(Vec::new());

/// A word that this side does not know. Equal words are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Word(u8);

impl Word {
    /// Keeps a word, or at least its beginning. When there are too many, all further ones are the same to us.
    pub fn new(text: &str) -> Word {
        let text = &text[..text.floor_char_boundary(MAX_LENGTH)];
        let mut words = kept();
        let at = words.iter().position(|known| &**known == text).unwrap_or_else(|| {
            if words.len() < usize::from(MAX_WORDS) {
                words.push(text.into());
            }
            words.len() - 1
        });
        Word(u8::try_from(at).unwrap_or(MAX_WORDS))
    }
}

fn kept() -> MutexGuard<'static, Vec<Box<str>>> {
    WORDS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(kept().get(usize::from(self.0)).map_or("", |word| word))
    }
}

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads a text as what the function makes of it, without keeping the text.
pub(crate) struct Reader<T>(pub fn(&str) -> Result<T, String>);

impl<T> Visitor<'_> for Reader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(E::custom)
    }
}

/// The words of a kind on the wire. Others are kept as they are in its variant `Other`.
macro_rules! words {
    ($kind:ident { $($variant:ident = $word:literal,)+ }) => {
        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $($kind::$variant => serializer.serialize_str($word),)+
                    $kind::Other(word) => word.serialize(serializer),
                }
            }
        }

        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str($crate::word::Reader(|text| {
                    Ok(match text {
                        $($word => $kind::$variant,)+
                        other => $kind::Other(Word::new(other)),
                    })
                }))
            }
        }
    };
}
pub(crate) use words;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_what_was_said_and_nobody_can_make_us_keep_without_end() {
        assert_eq!(Word::new("degraded"), Word::new("degraded"));
        assert_ne!(Word::new("degraded"), Word::new("upgrading"));
        assert_eq!(format!("{:10}|", Word::new("degraded")), "degraded  |");
        assert_eq!(Word::new(&"é".repeat(100)).to_string(), "é".repeat(MAX_LENGTH / 2));
        for number in 0..10_000 {
            Word::new(&format!("word {number}"));
        }
        assert_eq!(kept().len(), usize::from(MAX_WORDS));
        assert_eq!(Word::new("degraded").to_string(), "degraded");
    }
}
