//! Whatever the input, the answer is a diagnostic: no panic, no hang.

use proptest::prelude::*;

use super::super::load::{load_in, load_text_in};
use super::stack_with;

fn nothing(_: &str) -> Option<String> {
    None
}

/// Loads bytes and renders whatever is found, which is where positions are used.
fn swallow(bytes: &[u8], sets: &[String]) {
    match load_text_in("stack.yaml", bytes, sets, &nothing) {
        Ok(loaded) => {
            let _ = loaded.warnings.render(true);
        }
        Err(diagnostics) => {
            assert!(diagnostics.has_errors(), "refused without an error");
            let _ = (diagnostics.render(false), diagnostics.to_json());
        }
    }
}

/// Pieces of real stack files, to get further than arbitrary bytes do.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "project: a\n",
        "environment: dev\n",
        "region: ap-northeast-2\n",
        "network:\n",
        "  cidr: ",
        "10.0.0.0/16\n",
        "  zones: [a, c]\n",
        "  nat: none\n",
        "services:\n",
        "  web:\n",
        "    artifact: app\n",
        "    paths: ",
        "    instances: {min: 2, max: ",
        "99999999999999999999}\n",
        "database: {class: ",
        "db.t3.medium}\n",
        "}\n",
        "cache: {}\n",
        "tags: {",
        "${env:X}",
        "${env:X:-",
        "\"",
        "'",
        "&a ",
        "*a",
        "<<: *a\n",
        "[",
        "]",
        "{",
        "?",
        "é",
        "🦀",
        "\t",
        "\u{feff}",
        "null\n",
        "~",
        "-1",
        "0s",
        "9999999999d",
        ".inf",
        "|\n  text\n",
        ">\n",
        "!!int ",
        "!!binary x",
        "---\n",
        "    subnets: {public: [10.0.0.0/33]}\n",
        "255.255.255.255/0",
        "    health: {interval: 1ms}\n",
        "# note\n",
    ];
    prop_oneof![3 => prop::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,6}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        swallow(&bytes, &[]);
    }

    #[test]
    fn shuffled_pieces_never_panic(pieces in prop::collection::vec(piece(), 0..30)) {
        swallow(pieces.concat().as_bytes(), &[]);
    }

    #[test]
    fn arbitrary_values_of_a_valid_stack_never_panic(
        cidr in "[0-9]{1,3}\\.[0-9]{1,3}\\.0\\.0/[0-9]{1,2}",
        zones in prop::collection::vec("[a-f]|\\PC{0,4}", 0..12),
        class in "(db|cache|)\\.?[a-z]{0,2}[0-9]{0,2}[a-z]{0,2}\\.[a-z0-9]{0,8}",
        window in "[0-2][0-9]:[0-5][0-9]-[0-2][0-9]:[0-5][0-9]",
        number in any::<u32>(),
        rate in any::<f64>(),
    ) {
        let zones = serde_json::json!(zones);
        let text = stack_with(&format!(
            "network: {{cidr: {cidr}, zones: {zones}}}\n\
             services: {{web: {{artifact: a, instances: {{type: {class}, max: {number}}}, \
             scaling: {{requests_per_target_per_minute: {rate}, expected_peak_requests_per_second: {number}}}}}}}\n\
             database: {{class: {class}, backup_window: '{window}', readers: {number}}}\n\
             cache: {{class: {class}, snapshot_window: '{window}'}}\n"
        ));
        swallow(text.as_bytes(), &[]);
    }

    #[test]
    fn arbitrary_set_arguments_never_panic(set in "(services|network|tags|region)?[.\\[\\]\"a-z0-9=]{0,12}=?\\PC{0,10}") {
        swallow(stack_with("services: {web: {artifact: app}}\n").as_bytes(), &[set]);
    }
}

/// What is said about a file of these bytes.
fn said_about(bytes: &[u8]) -> String {
    load_text_in("stack.yaml", bytes, &[], &nothing).expect_err("refused").render(false)
}

#[test]
fn other_encodings_are_named() {
    let utf16: Vec<u8> = "project: a\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(said_about(&[b"\xff\xfe".to_vec(), utf16].concat()).contains("isn't UTF-8"));
    let latin1 = b"project: ticketing\ntags: {owner: J\xfcrgen}\n";
    assert!(said_about(latin1).contains("stack.yaml:2:"), "{}", said_about(latin1));
}

#[test]
fn a_byte_order_mark_does_no_harm() {
    let text = format!("\u{feff}{}", stack_with("logs: {retention: 8d}\n"));
    let said = said_about(text.as_bytes());
    assert!(said.contains("stack.yaml:4:19"), "{said}");
}

#[test]
fn files_that_are_none_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    std::os::unix::fs::symlink(at("loop"), at("loop")).expect("a link");
    std::fs::write(at("large.yaml"), " ".repeat(2 << 20)).expect("a file");
    let absent = at("absent.yaml");
    for (path, why) in [
        (absent.as_path(), "No such file"),
        (&at("loop"), "symbolic links"),
        (&at("large.yaml"), "larger than 1 MiB"),
        (folder.path(), "is a directory"),
        (std::path::Path::new("/dev/zero"), "not a regular file"),
    ] {
        let said = load_in(path, &[], &nothing).expect_err("refused").render(false);
        assert!(said.contains(why), "{}: {said}", path.display());
    }
}
