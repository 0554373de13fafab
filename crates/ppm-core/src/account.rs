//! Who a user of the configuration is: numbers, groups and home, from the lines of passwd(5) and group(5).
//!
//! Read by ourselves, since a static program has no library that would ask anything else, and at each start, so that
//! a user who was added since is known. As docker(1) has it: a number need not be listed and has the group 0 then, and
//! who gives a group gets that group alone. Reads no file: that is done by whoever asks.

use crate::attributes::{User, Who};

/// Where users are listed.
const PASSWD: &str = "/etc/passwd";

/// Where groups are listed.
const GROUP: &str = "/etc/group";

/// A user as the kernel knows it, and what a program wants to know besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user's number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
    /// The numbers of its other groups.
    pub groups: Vec<u32>,
    /// Its name; None: it is not listed.
    pub name: Option<Vec<u8>>,
    /// Its home: `/` if it is not listed.
    pub home: Vec<u8>,
}

/// The content of the file at a path, None if there is no such file; or, in words, why it cannot be read.
pub type Read<'a> = dyn Fn(&str) -> Result<Option<Vec<u8>>, String> + 'a;

/// Looks the user up.
///
/// # Errors
/// Who is not there, or which file cannot be read: `user: no such user in /etc/passwd: app`.
pub fn find(user: &User, read: &Read<'_>) -> Result<Account, String> {
    let lines = |path: &str| read(path).map(Option::unwrap_or_default).map_err(|why| format!("user: {why}: {path}"));
    let passwd = lines(PASSWD)?;
    let listed = entries(&passwd).filter_map(Listed::read).find(|listed| match &user.user {
        Who::Name(name) => listed.name == name.as_bytes(),
        Who::Number(number) => listed.uid == *number,
    });
    let (uid, gid) = match (&user.user, &listed) {
        (_, Some(listed)) => (listed.uid, listed.gid),
        (Who::Number(number), None) => (*number, 0),
        (Who::Name(name), None) => return Err(format!("user: no such user in {PASSWD}: {name}")),
    };
    let name = listed.as_ref().map(|listed| listed.name);
    let (gid, groups) = match (&user.group, name) {
        (Some(Who::Number(number)), _) => (*number, Vec::new()),
        (Some(Who::Name(group)), _) => {
            let number = entries(&lines(GROUP)?).find_map(|fields| number_of_group(fields, |name, _| name == group.as_bytes()));
            (number.ok_or_else(|| format!("user: no such group in {GROUP}: {group}"))?, Vec::new())
        }
        (None, None) => (gid, Vec::new()),
        (None, Some(name)) => {
            let content = lines(GROUP)?;
            let is_member = |_: &[u8], members: &[u8]| members.split(|byte| *byte == b',').any(|member| member == name);
            let mut groups: Vec<u32> = entries(&content).filter_map(|fields| number_of_group(fields, is_member)).collect();
            groups.sort_unstable();
            groups.dedup();
            groups.retain(|group| *group != gid);
            (gid, groups)
        }
    };
    let home = listed.as_ref().map_or(&b""[..], |listed| listed.home);
    let home = if home.is_empty() { b"/".to_vec() } else { home.to_vec() };
    Ok(Account { uid, gid, groups, name: name.map(<[u8]>::to_vec), home })
}

/// A line of passwd(5).
struct Listed<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

impl<'a> Listed<'a> {
    fn read(mut fields: impl Iterator<Item = &'a [u8]>) -> Option<Listed<'a>> {
        let name = fields.next()?;
        let (_password, uid, gid) = (fields.next()?, number(fields.next()?)?, number(fields.next()?)?);
        let (_comment, home) = (fields.next(), fields.next().unwrap_or_default());
        (!name.is_empty()).then_some(Listed { name, uid, gid, home })
    }
}

/// The number of the group that a line of group(5) tells of, if its name and its members are as wanted.
fn number_of_group<'a>(mut fields: impl Iterator<Item = &'a [u8]>, wanted: impl Fn(&[u8], &[u8]) -> bool) -> Option<u32> {
    let name = fields.next()?;
    let (_password, gid) = (fields.next()?, number(fields.next()?)?);
    wanted(name, fields.next().unwrap_or_default()).then_some(gid)
}

/// The fields of each line; what is no entry has too few of them.
fn entries(content: &[u8]) -> impl Iterator<Item = impl Iterator<Item = &[u8]>> {
    let lines = content.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.filter(|line| !line.starts_with(b"#")).map(|line| line.split(|byte| *byte == b':'))
}

/// Any but the last number, which stands for none.
fn number(field: &[u8]) -> Option<u32> {
    let is_plain = !field.is_empty() && field.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(field).ok()?.parse().ok().filter(|number| is_plain && *number < u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "# users\n\nroot:x:0:0:root:/root:/bin/sh\nbroken\nbad:x:one:1::/:/bin/sh\nlast:x:4294967295:0::/:\n\
        app:x:1000:1001:App,,,:/home/app:/bin/sh\r\napp:x:7:7::/second:/bin/sh\nother:x:1000:9::/other:\nshort:x:1002:1002\n+\n:x:5:5::/:\n";
    const GROUPS: &str =
        "root:x:0:\napp:x:1001:app\nweb:x:80:app,other\ncut:x:81\nlog:x:4:other,app\nnot:x:5:apps,ap\nweb2:x:80:app\nnone:x::app\n";

    fn find_in(text: &str, passwd: Option<&str>, group: Option<&str>) -> Result<Account, String> {
        let user = User::parse(text).unwrap();
        find(&user, &|path| {
            let content = if path == PASSWD { passwd } else { group };
            Ok(content.map(|content| content.as_bytes().to_vec()))
        })
    }

    fn found(text: &str) -> (u32, u32, Vec<u32>, String, String) {
        let account = find_in(text, Some(USERS), Some(GROUPS)).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (account.uid, account.gid, account.groups, account.name.map_or("-".to_owned(), |name| text(&name)), text(&account.home))
    }

    fn expected(uid: u32, gid: u32, groups: &[u32], name: &str, home: &str) -> (u32, u32, Vec<u32>, String, String) {
        (uid, gid, groups.to_vec(), name.to_owned(), home.to_owned())
    }

    #[test]
    fn a_user_has_the_groups_that_list_it() {
        assert_eq!(found("app"), expected(1000, 1001, &[4, 80], "app", "/home/app"));
        assert_eq!(found("1000"), expected(1000, 1001, &[4, 80], "app", "/home/app"), "the first entry of the number");
        assert_eq!(found("root"), expected(0, 0, &[], "root", "/root"));
        assert_eq!(found("short"), expected(1002, 1002, &[], "short", "/"));
    }

    #[test]
    fn who_gives_a_group_gets_that_group_alone() {
        assert_eq!(found("app:web"), expected(1000, 80, &[], "app", "/home/app"));
        assert_eq!(found("app:81"), expected(1000, 81, &[], "app", "/home/app"));
        assert_eq!(found("0:cut"), expected(0, 81, &[], "root", "/root"));
    }

    #[test]
    fn a_number_need_not_be_listed() {
        assert_eq!(found("4321"), expected(4321, 0, &[], "-", "/"));
        assert_eq!(found("4321:1"), expected(4321, 1, &[], "-", "/"));
        let account = find_in("4321:1", None, None).unwrap();
        assert_eq!((account.uid, account.gid), (4321, 1));
    }

    #[test]
    fn who_is_not_there_is_told() {
        let why = |text: &str| find_in(text, Some(USERS), Some(GROUPS)).unwrap_err();
        assert_eq!(why("nobody"), "user: no such user in /etc/passwd: nobody");
        for text in ["bad", "last", "broken"] {
            assert!(why(text).starts_with("user: no such user in "), "{text}");
        }
        assert_eq!(why("app:nobody"), "user: no such group in /etc/group: nobody");
        assert_eq!(find_in("app", None, None).unwrap_err(), "user: no such user in /etc/passwd: app");
    }

    #[test]
    fn a_file_that_cannot_be_read_gives_nobody_other_rights_than_are_listed_in_it() {
        let refuse = |refused: &'static str| {
            move |path: &str| if path == refused { Err("larger than 1 MiB".to_owned()) } else { Ok(Some(USERS.as_bytes().to_vec())) }
        };
        let find = |text: &str, refused| find(&User::parse(text).unwrap(), &refuse(refused)).map(|account| account.gid);
        assert_eq!(find("1000", PASSWD), Err("user: larger than 1 MiB: /etc/passwd".to_owned()));
        assert_eq!(find("app", GROUP), Err("user: larger than 1 MiB: /etc/group".to_owned()));
        assert_eq!(find("app:5", GROUP), Ok(5), "where the groups say nothing");
    }
}
