//! Layers that are well made, that delete, and that try to escape. Needs root, as unpacking does.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use tar::{Builder, Header};
use tempfile::TempDir;

use super::*;

type Tar = Builder<Vec<u8>>;

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(1234);
    header.set_gid(567);
    header.set_mtime(1_000_000_000);
    header.set_size(size);
    header
}

/// Appends an entry whose name is written as it is, however bad.
fn put(tar: &mut Tar, name: &str, kind: EntryType, data: &str) {
    let size = if kind == Regular { data.len() as u64 } else { 0 };
    let mut header = header(kind, 0o4751, size);
    let field = &mut header.as_old_mut().name;
    field[..name.len()].copy_from_slice(name.as_bytes());
    if matches!(kind, Symlink | Link) {
        header.set_link_name_literal(data).unwrap();
    }
    header.set_cksum();
    let data = if kind == Regular { data.as_bytes() } else { &[] };
    tar.append(&header, data).unwrap();
}

fn unpacked(entries: &[(&str, EntryType, &str)]) -> Result<TempDir> {
    assert!(nix::unistd::geteuid().is_root(), "these tests need root: unpacking sets owners");
    let mut tar = Builder::new(Vec::new());
    for (name, kind, data) in entries {
        put(&mut tar, name, *kind, data);
    }
    let directory = tempfile::tempdir().unwrap();
    unpack(&tar.into_inner().unwrap()[..], directory.path()).map(|()| directory)
}

use EntryType::{Directory, Fifo, Link, Regular, Symlink};

#[test]
fn files_keep_owner_mode_and_time() {
    let dir = unpacked(&[
        ("./", Directory, ""),
        ("./bin/", Directory, ""),
        ("./bin/tool", Regular, "first"),
        ("./bin/tool", Regular, "content"),
        ("bin/hard", Link, "bin/tool"),
        ("bin/soft", Symlink, "tool"),
        ("pipe", Fifo, ""),
        ("deep/er/file", Regular, "x"),
    ])
    .unwrap();
    let tool = dir.path().join("bin/tool").metadata().unwrap();
    assert_eq!(
        (tool.uid(), tool.gid(), tool.mtime(), tool.mode() & 0o7777),
        (1234, 567, 1_000_000_000, 0o4751)
    );
    assert_eq!(std::fs::read_to_string(dir.path().join("bin/soft")).unwrap(), "content");
    assert_eq!(dir.path().join("bin/hard").metadata().unwrap().ino(), tool.ino());
    assert_eq!(dir.path().join("bin").metadata().unwrap().mtime(), 1_000_000_000);
    assert!(dir.path().join("pipe").metadata().unwrap().file_type().is_fifo());
    assert_eq!(dir.path().join("deep/er/file").metadata().unwrap().len(), 1);
}

#[test]
fn deletions_become_overlay_whiteouts() {
    let dir = unpacked(&[
        ("etc/.wh.passwd", Regular, ""),
        ("var/", Directory, ""),
        ("var/.wh..wh..opq", Regular, ""),
        (".wh..wh.plnk", Regular, ""),
    ])
    .unwrap();
    let passwd = dir.path().join("etc/passwd").symlink_metadata().unwrap();
    assert!(passwd.file_type().is_char_device());
    assert_eq!(passwd.rdev(), 0);
    let mut value = [0; 1];
    rustix::fs::getxattr(dir.path().join("var"), "trusted.overlay.opaque", &mut value[..]).unwrap();
    assert_eq!(&value, b"y");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    assert!(unpacked(&[(".wh...", Regular, "")]).is_err());
}

#[test]
fn names_that_lead_out_are_refused() {
    for name in ["../evil", "a/../../evil", "/etc/evil"] {
        let error = unpacked(&[(name, Regular, "x")]).unwrap_err();
        assert!(matches!(error, LayerError::Escape(_)), "{name}: {error}");
    }
    let error = unpacked(&[("link", Link, "../../etc/passwd")]).unwrap_err();
    assert!(matches!(error, LayerError::Escape(_)), "{error}");
    let error = unpacked(&[("link", Link, "not/here")]).unwrap_err();
    assert!(matches!(error, LayerError::ForeignLink { .. }), "{error}");
}

#[test]
fn links_are_followed_within_the_layer_only() {
    let outside = tempfile::tempdir().unwrap();
    let outside_path = outside.path().to_str().unwrap();
    std::fs::set_permissions(outside.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let dir = unpacked(&[
        ("out", Symlink, outside_path),
        ("out/evil", Regular, "x"),
        ("up", Symlink, "../../../../../../../.."),
        ("up/evil", Regular, "x"),
        ("etc", Symlink, "/etc"),
        ("etc", Directory, ""),
        ("etc/pileus-test", Regular, "x"),
    ]);
    // The link's target does not exist inside: an entry below it cannot be placed.
    assert!(dir.is_err());
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    let dir = unpacked(&[
        ("up", Symlink, "../../../../../../../.."),
        ("up/evil", Regular, "x"),
        ("etc", Symlink, "/etc"),
        ("etc", Directory, ""),
        ("etc/pileus-test", Regular, "x"),
        ("file", Symlink, "/etc/pileus-must-not-exist"),
        ("file", Regular, "x"),
    ])
    .unwrap();
    assert!(dir.path().join("evil").is_file());
    assert!(dir.path().join("etc/pileus-test").is_file());
    assert!(!Path::new("/etc/pileus-test").exists() && !Path::new("/etc/pileus-must-not-exist").exists());
}

#[test]
fn a_cut_archive_is_refused() {
    let mut tar = Builder::new(Vec::new());
    put(&mut tar, "file", Regular, &"x".repeat(5000));
    let bytes = tar.into_inner().unwrap();
    let dir = tempfile::tempdir().unwrap();
    assert!(unpack(&bytes[..2000], dir.path()).is_err());
}
