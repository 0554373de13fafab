//! The INI files of supervisord: sections of options, each with its line.
//!
//! Reads as Python's configparser does with supervisord's settings: comments begin with `;` or `#`, in a line behind a blank;
//! a line that is indented further goes on with the value above; equal sections are one, and the last of equal options counts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ppm_core::names::glob_matches;

use super::super::draft::{Draft, Place};
use super::super::{Failure, Source, read};

/// How deep files may include others. supervisord itself looks into one level.
const MAX_DEPTH: usize = 10;

/// How many files may be read in all.
const MAX_FILES: usize = 1000;

/// A section: `[program:web]`.
#[derive(Debug)]
pub struct Section {
    /// What stands in the brackets.
    pub name: String,
    pub place: Place,
    pub options: Vec<Setting>,
    /// Where in these a key is.
    known: BTreeMap<String, usize>,
}

/// An option of a section.
#[derive(Clone, Debug)]
pub struct Setting {
    /// In small letters.
    pub key: String,
    pub value: String,
    pub place: Place,
}

impl Section {
    /// The option of this name.
    pub fn get(&self, key: &str) -> Option<&Setting> {
        self.known.get(key).and_then(|at| self.options.get(*at))
    }

    /// Says an option; what was said before of the same is forgotten.
    fn set(&mut self, option: Setting) {
        match self.known.get(&option.key).and_then(|at| self.options.get_mut(*at)) {
            Some(known) => *known = option,
            None => {
                self.known.insert(option.key.clone(), self.options.len());
                self.options.push(option);
            }
        }
    }
}

/// All sections of the file and of what it includes, in their order.
pub fn sections(source: &Source, draft: &mut Draft) -> Result<Vec<Section>, Failure> {
    let mut reading = Reading { sections: Vec::new(), known: BTreeMap::new(), open: Vec::new(), files: 0 };
    reading.file(source, draft)?;
    Ok(reading.sections)
}

struct Reading {
    sections: Vec<Section>,
    /// Where in these a name is.
    known: BTreeMap<String, usize>,
    /// The files that are being read, each including the next.
    open: Vec<PathBuf>,
    files: usize,
}

impl Reading {
    fn file(&mut self, source: &Source, draft: &mut Draft) -> Result<(), Failure> {
        self.open.push(source.path.as_ref().and_then(|path| path.canonicalize().ok()).unwrap_or_default());
        let mut includes = Vec::new();
        for section in lines(source)? {
            let known = self.known.get(&section.name).and_then(|at| self.sections.get_mut(*at));
            match known {
                _ if section.name == "include" => includes.extend(section.options),
                Some(known) => section.options.into_iter().for_each(|option| known.set(option)),
                None => {
                    self.known.insert(section.name.clone(), self.sections.len());
                    self.sections.push(section);
                }
            }
        }
        for option in includes {
            if option.key == "files" {
                self.include(&option, source, draft)?;
            } else {
                draft.remark(&option.place, format!("[include] {}: no equivalent", option.key));
            }
        }
        self.open.pop();
        Ok(())
    }

    fn include(&mut self, option: &Setting, source: &Source, draft: &mut Draft) -> Result<(), Failure> {
        let column = 1;
        let refuse = |message: String, hint: &str| Err(source.wrong((option.place.line, column), option.key.len(), message, hint));
        for pattern in option.value.replace("%(here)s", &source.folder.display().to_string()).split_whitespace() {
            let found = matching(&source.folder.join(pattern).display().to_string());
            if found.is_empty() {
                draft.remark(&option.place, format!("[include] files: no file is called {pattern}"));
            }
            for path in found {
                if path.canonicalize().is_ok_and(|path| self.open.contains(&path)) {
                    let message = format!("{} is included by itself", path.display());
                    return refuse(message, "take it out of `files`, or the `[include]` out of what it includes");
                }
                self.files += 1;
                if self.open.len() >= MAX_DEPTH {
                    return refuse(format!("files include others more than {MAX_DEPTH} deep"), "name all files in one `[include]`");
                }
                if self.files > MAX_FILES {
                    return refuse(format!("more than {MAX_FILES} files are included"), "import them in parts");
                }
                let name = path.strip_prefix(&source.folder).unwrap_or(&path).display().to_string();
                let included = read(&path, &name)
                    .map_err(|failure| failure.fact(format!("it is included at {}:{}", option.place.file, option.place.line)))?;
                self.file(&included, draft)?;
            }
        }
        Ok(())
    }
}

/// The files that a pattern means, sorted; hidden ones only where the pattern begins so.
fn matching(pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        if !part.contains(['*', '?', '[']) {
            found = found.into_iter().map(|folder| folder.join(part)).collect();
            continue;
        }
        let mut next = Vec::new();
        for folder in found {
            let names = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
            let is_meant = |name: &str| glob_matches(part, name) && (part.starts_with('.') || !name.starts_with('.'));
            next.extend(names.filter(|name| name.to_str().is_some_and(is_meant)).map(|name| folder.join(name)));
        }
        found = next;
    }
    found.retain(|path| path.is_file());
    found.sort();
    found
}

/// The sections of one file.
fn lines(source: &Source) -> Result<Vec<Section>, Failure> {
    let mut sections: Vec<Section> = Vec::new();
    let mut last: Option<String> = None; // the option that a line could go on with
    let mut indent = usize::MAX; // nothing that a line could go on with
    for (number, whole) in (1..).zip(source.text.lines()) {
        let line = without_comment(whole);
        let text = line.trim();
        if text.is_empty() {
            // A line without anything may stand within a value, one with a comment ends it not either.
            continue;
        }
        let own = line.chars().take_while(|letter| letter.is_whitespace()).count();
        if own > indent
            && let Some(key) = &last
            && let Some(section) = sections.last_mut()
            && let Some(option) = section.known.get(key).and_then(|at| section.options.get_mut(*at))
        {
            option.value.push('\n');
            option.value.push_str(text);
            continue;
        }
        indent = usize::MAX;
        let place = source.place(number);
        let at = (number, own + 1);
        if let Some(name) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name.trim()) {
            sections.push(Section { name: name.to_owned(), place, options: Vec::new(), known: BTreeMap::new() });
            continue;
        }
        let width = text.chars().count();
        let Some(section) = sections.last_mut() else {
            return Err(source.wrong(at, width, "a section is wanted before the first option", "write one like `[program:web]` above it"));
        };
        let option = text.split_once(['=', ':']).map(|(key, value)| (key.trim().to_lowercase(), value.trim().to_owned()));
        let Some((key, value)) = option.filter(|(key, _)| !key.is_empty()) else {
            let hint = "write `key=value`, or indent the line if it goes on with the one above";
            return Err(source.wrong(at, width, "an option and its value are wanted", hint));
        };
        indent = own;
        last = Some(key.clone());
        section.set(Setting { key, value, place });
    }
    Ok(sections)
}

/// The line up to a `;` or `#` that begins it or stands behind a blank.
fn without_comment(line: &str) -> &str {
    let mut behind_blank = true;
    for (at, letter) in line.char_indices() {
        if behind_blank && matches!(letter, ';' | '#') {
            return &line[..at];
        }
        behind_blank = letter.is_whitespace();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { name: "x.conf".into(), text: text.to_owned(), folder: "/etc".into(), path: None, is_base: false.into() }
    }

    fn drawn(text: &str) -> Vec<String> {
        let sections = lines(&source(text)).unwrap_or_else(|failure| panic!("{failure:?}"));
        let option = |option: &Setting| format!("{} {}={:?}", option.place.line, option.key, option.value);
        sections
            .iter()
            .flat_map(|section| {
                [format!("{} [{}]", section.place.line, section.name)].into_iter().chain(section.options.iter().map(option))
            })
            .collect()
    }

    #[test]
    fn values_go_on_in_lines_that_are_indented_and_end_at_comments() {
        let text = "; first\n[program:web] ; the web\nCommand = web -a;b ; no more\n  --more\n\n  # not this\n  --and more\nenvironment:A=\"1\"\n#directory=/x\n[b]\nx =\n";
        let wanted =
            ["2 [program:web]", "3 command=\"web -a;b\\n--more\\n--and more\"", "8 environment=\"A=\\\"1\\\"\"", "10 [b]", "11 x=\"\""];
        assert_eq!(drawn(text), wanted);
    }

    #[test]
    fn the_last_of_equal_options_counts() {
        assert_eq!(drawn("[a]\nx=1\nx=2\n"), ["1 [a]", "3 x=\"2\""]);
    }
}
