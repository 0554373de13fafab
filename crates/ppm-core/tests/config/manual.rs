//! ppm.yml(5), the page of the manual, written from the table of keys like the reference.

use std::fmt::Write;

use ppm_core::config::keys::{Absent, Key, Stage};

use crate::reference::{TABLES, default_in_words, in_words};
use crate::{compare, repository};

const INTRODUCTION: &str = "\
.SH NAME
ppm.yml \\- the configuration of PPM
.SH DESCRIPTION
A YAML file that describes the daemon and its services. The first that exists of
.IR ~/.config/partner/partner\\-pm.yml ,
.I ~/.partner\\-pm.yml
and
.I .partner\\-pm.yml
is read, or the one that is named.
.B ppm check
tells what is wrong with one, and
.B ppm schema
prints its JSON Schema.
.PP
Durations are numbers of seconds or written like 1m 30s, sizes numbers of bytes or written like 64MiB.
";

#[test]
fn the_page_of_the_manual_is_written_from_the_table_of_keys() {
    compare(&repository("data/man/ppm.yml.5"), &page());
}

fn page() -> String {
    // As the pages of commands: the day of the release, so that the page is the same whenever it is written.
    let heading = |line: &'static str| line.strip_prefix("## ")?.split_once(" - ");
    let (version, date) = include_str!("../../../../CHANGELOG.md").lines().find_map(heading).unwrap();
    let mut out = format!(".TH PPM.YML 5 \"{date}\" \"PPM {version}\"\n{INTRODUCTION}");
    for (table, heading, _) in TABLES {
        writeln!(out, ".SH {}", plain(heading).to_uppercase()).unwrap();
        for key in table.keys {
            entry(&mut out, key);
        }
    }
    out + ".SH SEE ALSO\n.BR ppm (1),\n.BR ppm\\-daemon (8)\n"
}

fn entry(out: &mut String, key: &Key) {
    let Stage::Here { kind, absent, about, example } = &key.stage else { return };
    let is_default = matches!(absent, Absent::Value(_) | Absent::Otherwise(_));
    let default = format!("{}{}", if is_default { "default: " } else { "" }, default_in_words(absent));
    let (takes, name) = (plain(&in_words(kind)), plain(key.name));
    writeln!(out, ".TP\n.BR {name} \" ({takes}; {})\"\n{}\n.br\n.EX\n{name}: {}\n.EE", plain(&default), plain(about), plain(example))
        .unwrap();
}

/// Markdown as text that means itself to roff (groff_char(7)).
fn plain(text: &str) -> String {
    let mut words = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once("](") {
        words += before;
        rest = link.split_once(')').map_or("", |(_, after)| after);
    }
    words += rest;
    let bare = if words.len() == text.len() { words } else { words.replace('[', "") };
    let bare = bare.replace('\\', "\\e").replace('-', "\\-").replace('`', "").replace('"', "\\(dq").replace('\'', "\\(aq");
    if bare.starts_with('.') { format!("\\&{bare}") } else { bare }
}
