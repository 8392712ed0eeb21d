//! Whom a container runs as: names and numbers resolved in the image's own `/etc/passwd` and `/etc/group`.

use std::io;
use std::path::Path;

use crate::rooted::Rooted;

/// Larger files are not believed.
const MAX_FILE: u64 = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

/// Resolves `user[:group]`, each a name or a number; an empty text is root. The rules are Docker's: a number needs
/// no entry, and supplementary groups come from `/etc/group` where no group is given.
pub(crate) fn resolve(root: &Rooted, wanted: &str) -> Result<User, String> {
    let read = |path: &str| {
        let text: io::Result<Option<String>> = root.read(Path::new(path), MAX_FILE);
        text.map(Option::unwrap_or_default)
            .map_err(|error| format!("cannot read the image's /{path}: {error}"))
    };
    resolve_in(&read("etc/passwd")?, &read("etc/group")?, wanted)
}

fn resolve_in(passwd: &str, group: &str, wanted: &str) -> Result<User, String> {
    let (user, wanted_group) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (wanted, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let entry = passwd.lines().filter_map(Account::parse).find(|account| account.is(user));
    let uid = match (&entry, user.parse()) {
        (Some(account), _) => account.uid,
        (None, Ok(uid)) => uid,
        (None, Err(_)) => return Err(format!("user {user:?} is not in the image's /etc/passwd")),
    };
    let gid = match wanted_group {
        Some(wanted) => group_id(group, wanted)?,
        None => entry.as_ref().map_or(0, |account| account.gid),
    };
    let groups = match (&entry, wanted_group) {
        (Some(account), None) => memberships(group, account.name),
        _ => Vec::new(),
    };
    let home = entry.map(|account| account.home).filter(|home| !home.is_empty()).unwrap_or("/");
    Ok(User { uid, gid, groups, home: home.to_owned() })
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Account<'a> {
    /// `name:password:uid:gid:comment:home:shell`
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let (name, _, uid, gid, _, home) = (
            fields.next()?,
            fields.next()?,
            fields.next()?.parse().ok()?,
            fields.next()?.parse().ok()?,
            fields.next(),
            fields.next(),
        );
        Some(Self { name, uid, gid, home: home.unwrap_or_default() })
    }

    fn is(&self, wanted: &str) -> bool {
        self.name == wanted || wanted.parse() == Ok(self.uid)
    }
}

/// Entries of `/etc/group`: name, id, members. `name:password:gid:member,member`
fn entries(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?.parse().ok()?);
        Some((name, gid, fields.next().unwrap_or_default()))
    })
}

fn group_id(text: &str, wanted: &str) -> Result<u32, String> {
    let named = entries(text).find(|(name, ..)| *name == wanted).map(|(_, gid, _)| gid);
    named
        .or_else(|| wanted.parse().ok())
        .ok_or_else(|| format!("group {wanted:?} is not in the image's /etc/group"))
}

fn memberships(text: &str, user: &str) -> Vec<u32> {
    let member = |members: &str| members.split(',').any(|name| name == user);
    entries(text).filter(|(.., members)| member(members)).map(|(_, gid, _)| gid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nbroken\nnode:x:1000:1001::/home/node:/bin/sh\nbare:x:7:7\n";
    const GROUP: &str = "root:x:0:\nnode:x:1001:\naudio:x:29:pulse,node\nvideo:x:44:node\n";

    fn ids(wanted: &str) -> Result<(u32, u32, Vec<u32>, String), String> {
        resolve_in(PASSWD, GROUP, wanted).map(|user| (user.uid, user.gid, user.groups, user.home))
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(ids(""), Ok((0, 0, vec![], "/root".into())));
        assert_eq!(ids("node"), Ok((1000, 1001, vec![29, 44], "/home/node".into())));
        assert_eq!(ids("1000"), ids("node"));
        assert_eq!(ids("node:audio"), Ok((1000, 29, vec![], "/home/node".into())));
        assert_eq!(ids("node:4242"), Ok((1000, 4242, vec![], "/home/node".into())));
        assert_eq!(ids("65534"), Ok((65534, 0, vec![], "/".into())));
        assert_eq!(ids("65534:65534"), Ok((65534, 65534, vec![], "/".into())));
        assert_eq!(ids("bare"), Ok((7, 7, vec![], "/".into())));
    }

    #[test]
    fn unknown_names_are_named() {
        assert!(ids("nobody").unwrap_err().contains("nobody"));
        assert!(ids("node:wheel").unwrap_err().contains("wheel"));
        assert!(ids("-1").is_err());
    }
}
