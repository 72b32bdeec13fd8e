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

#[test]
fn a_pipe_is_no_file_and_a_link_to_one_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let made = std::process::Command::new("mkfifo").arg(at("pipe")).status().expect("mkfifo");
    assert!(made.success());
    let said = load_in(&at("pipe"), &[], &nothing).expect_err("refused").render(false);
    assert!(said.contains("not a regular file"), "{said}");
    std::fs::write(at("real.yaml"), stack_with("")).expect("a file");
    std::os::unix::fs::symlink("real.yaml", at("link.yaml")).expect("a link");
    load_in(&at("link.yaml"), &[], &nothing).expect("a link to a stack file is one");
    for target in ["pipe", "/dev/zero", "/proc/self/mem", "."] {
        std::fs::write(at("over.yaml"), format!("extends: {target}\n")).expect("a file");
        let said = load_in(&at("over.yaml"), &[], &nothing).expect_err("refused").render(false);
        assert!(said.contains("over.yaml:1:"), "{said}");
    }
}

#[test]
fn numbers_beyond_all_measure_are_refused() {
    for number in
        ["1e400", "-1", "99999999999999999999999999", "0x7fffffffffffffff", ".inf", ".nan", "4294967296", "1e-9"]
    {
        for place in [
            "services: {web: {artifact: a, port: N}}",
            "services: {web: {artifact: a, instances: {min: N, max: N}}}",
            "services: {web: {artifact: a, scaling: {cpu: N}}}",
            "database: {readers: N}",
            "cache: {replicas: N}",
            "messaging: {max_message_bytes: N}",
            "logs: {retention: Nd}",
        ] {
            let text = stack_with(&format!("{}\n", place.replace('N', number)));
            let refused = load_text_in("stack.yaml", text.as_bytes(), &[], &nothing).is_err();
            assert!(refused, "{place} took {number}");
        }
    }
}

#[test]
fn names_fill_their_limit_and_no_more() {
    let with = |project: &str| format!("project: {project}\nenvironment: dev\nregion: ap-northeast-2\n");
    let load = |text: &str| load_text_in("stack.yaml", text.as_bytes(), &[], &nothing);
    load(&with(&"a".repeat(32))).expect("32 characters");
    for name in [
        "a".repeat(33),
        "티켓".to_owned(),
        "Ticket".to_owned(),
        "a--b".to_owned(),
        "-a".to_owned(),
        "a\u{301}".to_owned(),
    ] {
        let said = load(&with(&name)).expect_err("refused").render(false);
        assert!(said.contains("stack.yaml:1:"), "{said}");
    }
    let tags = |key: &str, value: &str| stack_with(&format!("tags: {{\"{key}\": \"{value}\"}}\n"));
    load(&tags("부서", "티켓팅 1팀")).expect("AWS takes letters of all languages in tags");
    load(&tags(&"키".repeat(128), &"값".repeat(256))).expect("as long as AWS allows, in characters");
    load(&tags(&"키".repeat(129), "")).expect_err("one too many");
    load(&tags("a", &"값".repeat(257))).expect_err("one too many");
}

#[test]
fn control_characters_get_into_no_program() {
    for line in ["env: {A: \"a\\0b\"}", "env: {A: \"\\x1b[31m\"}", "args: [\"a\\x07\"]", "health: {path: \"/a\\nb\"}"] {
        let text = stack_with(&format!("services: {{web: {{artifact: app, {line}}}}}\n"));
        load_text_in("stack.yaml", text.as_bytes(), &[], &nothing).expect_err(line);
    }
    // A service's own values may have several lines, as a certificate has.
    let lines = "services:\n  web:\n    artifact: app\n    build: |\n      make\n      make app\n    env: {A: \"a\\nb\"}\n    args: [\"a\\tb\"]\n";
    load_text_in("stack.yaml", stack_with(lines).as_bytes(), &[], &nothing).expect("a certificate, say");
    let image =
        |image: &str| stack_with(&format!("services: {{web: {{image: \"{image}@sha256:{}\"}}}}\n", "0".repeat(64)));
    load_text_in("stack.yaml", image("docker.io/shop/web").as_bytes(), &[], &nothing).expect("an image");
    for name in ["a\\nExecStartPre=/bin/sh", "a;b", "$(a)", "%h", "-v/:/host"] {
        load_text_in("stack.yaml", image(name).as_bytes(), &[], &nothing).expect_err(name);
    }
}

#[test]
fn thousands_of_mistakes_are_told_in_time_and_measure() {
    let mistakes: String = (0..5_000).map(|n| format!("mistake_{n}: {n}\n")).collect();
    let begun = std::time::Instant::now();
    let said = said_about(stack_with(&mistakes).as_bytes());
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    assert!(said.len() < 200_000, "{} bytes", said.len());
    assert!(said.contains("mistake_0"), "{said:.200}");
}
