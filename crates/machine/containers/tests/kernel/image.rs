//! Images that are whole, damaged or hostile.

use std::collections::BTreeSet;
use std::io::Write;

use pileus_contract::Containers;

use crate::kit::{Kit, layer};

#[test]
fn layers_lie_over_each_other() {
    let kit = Kit::new();
    let base =
        layer(&[("data/kept", "base"), ("data/gone", "base"), ("data/changed", "base"), ("old/a", "1")]);
    let top =
        layer(&[("data/.wh.gone", ""), ("data/changed", "top"), ("old/.wh..wh..opq", ""), ("old/b", "2")]);
    let mut spec = kit.task("t", "cat /data/kept /data/changed; echo; ls /data /old");
    spec.containers[0].image = kit.blobs().image(&[kit.busybox_layer(), base, top], &serde_json::json!({}));
    let (exit, output) = kit.run(&spec);
    assert_eq!(exit.code, Some(0), "{output:?}");
    assert_eq!(output, ["basetop", "/data:", "changed", "kept", "", "/old:", "b"]);
}

#[test]
fn the_same_layer_is_prepared_once_by_many() {
    let kit = Kit::new();
    let containers = kit.containers();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| containers.prepare_image(&kit.image))).collect();
        for thread in threads {
            thread.join().unwrap().unwrap();
        }
    });
    assert_eq!(std::fs::read_dir(kit.config.data_dir.join("layers")).unwrap().count(), 1);
}

#[test]
fn damaged_and_missing_blobs_are_refused() {
    let kit = Kit::new();
    let layers = || std::fs::read_dir(kit.config.data_dir.join("layers")).unwrap().count();
    let archive = layer(&[("file", "content")]);
    let image = kit.blobs().image(std::slice::from_ref(&archive), &serde_json::json!({}));
    let manifest = std::fs::read_to_string(kit.blobs().path(&image)).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let blob = kit.blobs().path(manifest["layers"][0]["digest"].as_str().unwrap());

    let other = crate::kit::gzip(&layer(&[("file", "CONTENT")]));
    std::fs::write(&blob, other).unwrap();
    let error = kit.containers().prepare_image(&image).unwrap_err().to_string();
    assert!(error.contains("damaged"), "{error}");
    let mut padded = crate::kit::gzip(&archive);
    padded.write_all(b"tail").unwrap();
    std::fs::write(&blob, padded).unwrap();
    assert!(kit.containers().prepare_image(&image).is_err(), "something after the archive");
    std::fs::remove_file(&blob).unwrap();
    let error = kit.containers().prepare_image(&image).unwrap_err().to_string();
    assert!(error.contains("not in the blob store"), "{error}");
    assert_eq!(layers(), 0, "nothing half-made is left");

    std::fs::write(kit.blobs().path(&image), "{}").unwrap();
    let error = kit.containers().prepare_image(&image).unwrap_err().to_string();
    assert!(error.contains("damaged"), "{error}");
    assert!(kit.containers().prepare_image("latest").is_err());
}

#[test]
fn a_layer_that_leads_out_is_refused() {
    let kit = Kit::new();
    let mut header = tar::Header::new_ustar();
    header.set_size(1);
    header.set_mode(0o644);
    header.as_old_mut().name[..15].copy_from_slice(b"../../etc/evil\0");
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&header, &b"x"[..]).unwrap();
    let image = kit.blobs().image(&[tar.into_inner().unwrap()], &serde_json::json!({}));
    let error = kit.containers().prepare_image(&image).unwrap_err().to_string();
    assert!(error.contains("leads out of the layer"), "{error}");
}

#[test]
fn unused_layers_are_removed_and_used_ones_kept() {
    let kit = Kit::new();
    let containers = kit.containers();
    let mine = kit.blobs().image(&[layer(&[("a", "a")])], &serde_json::json!({}));
    let old = kit.blobs().image(&[layer(&[("b", "b")])], &serde_json::json!({}));
    containers.prepare_image(&mine).unwrap();
    containers.prepare_image(&old).unwrap();
    containers.start(&kit.task("t", "sleep 1000")).unwrap();
    assert_eq!(containers.remove_unused_layers(&BTreeSet::from([mine.clone()])).unwrap(), 1);
    containers.remove("t").unwrap();
    assert_eq!(containers.remove_unused_layers(&BTreeSet::from([mine])).unwrap(), 1);
    assert_eq!(containers.remove_unused_layers(&BTreeSet::new()).unwrap(), 1);
}
