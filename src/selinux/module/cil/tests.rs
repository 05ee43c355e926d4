//! What is understood of CIL, and what is refused.

use super::*;

fn lines(text: &str) -> Result<Vec<String>, String> {
    let contexts = contexts(text.as_bytes()).map_err(|e| e.to_string())?;
    let line = |found: FileContext| {
        let context = found.context.map_or("none".to_owned(), |context| {
            format!("{}:{}", context.user_role_type, context.range.unwrap_or_default())
        });
        format!("{}{} {context}", found.pattern, found.kind.code())
    };
    Ok(contexts.into_iter().map(line).collect())
}

#[test]
fn file_contexts_are_found_among_all_else() {
    let text = r#"
        ; (filecon "/comment" any ())
        (typeattributeset x (and (a) (not (b)))) (filecon "/a(b)?;" file (u r t ((s0) (s0))))
        (filecon /word symlink ()) () (allow filecon x (file (read)))
        (block one (type t) (block two (type v)
            (filecon "/t" dir (u r t ((s0) (s1)))) (filecon "/v" any (u r v (systemlow systemlow)))
            (filecon "/w" any (u r w ((s0) (s0))))))
        (type w) (filecon "/x" any (u r one.two.v ((s0) (s0))))"#;
    assert_eq!(
        lines(text).unwrap(),
        [
            "/a(b)?;\t-- u:r:t:s0",
            "/word\t-l none",
            "/t\t-d u:r:one.t:s0-s1",
            "/v u:r:one.two.v:",
            "/w u:r:w:s0",
            "/x u:r:one.two.v:s0",
        ]
    );
    assert_eq!(lines("").unwrap(), [""; 0]);
}

#[test]
fn what_only_a_whole_policy_tells_is_refused() {
    let filecon = "(filecon \"/a\" any (u r t ((s0) (s0))))";
    for text in [
        format!("\n(optional x {filecon})"),
        format!("\n(macro m () (block b {filecon}))"),
        format!("\n(tunableif t (true {filecon}))"),
        format!("\n(in b {filecon})"),
        format!("\n(block b (blockinherit c) {filecon})"),
        format!("\n(block b (block c {filecon}) (blockabstract b))"),
        "\n(filecon \"/a\" any named)".to_owned(),
        "\n(filecon \"/a\" any (u r t range))".to_owned(),
        "\n(filecon \"/a\" any (u r t ((s0 (c0)) (s0 (c0)))))".to_owned(),
    ] {
        let found = lines(&text).unwrap_err();
        assert!(found.starts_with("line 2: found "), "{text}: {found}");
    }
}

#[test]
fn names_of_a_block_are_not_taken_for_the_policys() {
    let filecon = "(filecon \"/a\" any (u r t ((s0) (s0))))";
    for (declaration, context) in [
        ("(type t)", "u:r:b.t:s0"),
        ("(typealias t) (typealiasactual t x)", "u:r:x:s0"),
        ("(typealias t) (typealiasactual t x) (type x)", "u:r:b.x:s0"),
        ("(role r)", "u:b.r:t:s0"),
        ("(user u)", "b.u:r:t:s0"),
        ("(user t) (role u) (type r)", "u:r:t:s0"),
        ("(macro m ((type x)) (type t))", "u:r:t:s0"),
        ("(optional o (allow t t (file (read))))", "u:r:t:s0"),
    ] {
        let text = format!("(block b {filecon} {declaration}) (in x (type t))");
        assert_eq!(lines(&text).unwrap(), [format!("/a {context}")], "{text}");
    }
    for statement in [
        "(call m (t))",
        "(optional o (type t))",
        "(optional o (call m (t)))",
        "(tunableif x (true (typealias t)))",
        "(booleanif x (false (call m)))",
        "(sensitivity s0)",
    ] {
        for text in [
            format!("(block b {statement} {filecon})"),
            format!("(block b (block c {filecon}) {statement})"),
        ] {
            let found = lines(&text).unwrap_err();
            assert!(found.contains("takes names from elsewhere"), "{text}: {found}");
        }
    }
    for statement in [
        "(in b (type t))",
        "(in after a.b (type t))",
        "(block a (in b (type t)))",
        "(optional o (in b (type t)))",
    ] {
        for block in [format!("(block b {filecon})"), format!("(block b (block c {filecon}))")] {
            let text = format!("{block} {statement}");
            let found = lines(&text).unwrap_err();
            assert!(found.contains("\"in\" adds to"), "{text}: {found}");
        }
    }
}

/// They once were taken for types: `semodule` writes what they stand for.
#[test]
fn aliases_stand_for_types() {
    let filecon = |name: &str| format!("(filecon \"/a\" any (u r {name} ((s0) (s0))))");
    for (declarations, name, context) in [
        ("(typealias a) (typealiasactual a t)", "a", "u:r:t:s0"),
        ("(typealiasactual a b) (typealiasactual b t) (typealias a)", "a", "u:r:t:s0"),
        ("(block x (typealias a) (typealiasactual a t) (type t))", "x.a", "u:r:x.t:s0"),
        ("(block x (typealias a) (typealiasactual a x.t) (type t))", "x.a", "u:r:x.t:s0"),
        ("(block x (typealias a) (typealiasactual a t) (type t))", "a", "u:r:a:s0"),
    ] {
        for text in [
            format!("{declarations} {}", filecon(name)),
            format!("{} {declarations}", filecon(name)),
        ] {
            assert_eq!(lines(&text).unwrap(), [format!("/a {context}")], "{text}");
        }
    }
    for (declarations, problem) in [
        ("(typealias a)", "found the alias \"a\", expected one that the module gives a type"),
        ("(typealias a) (optional o (typealiasactual a t))", "found the alias \"a\""),
        ("(typealiasactual a b) (typealiasactual b a)", "found the alias \"a\""),
        ("(typealiasactual a t) (typealiasactual a u)", "another type of the alias, after \"t\""),
        ("(typealiasactual a)", "expected (typealiasactual ALIAS TYPE)"),
        ("(type a) (typealiasactual a t)", "found the type \"a\", expected an alias"),
        ("(type a) (typealias a)", "found \"a\" as a type and as an alias"),
        ("(typealias a) (type a)", "found \"a\" as a type and as an alias"),
        (
            "(block p (type t)) (block b (blockinherit p) (typealias a) (typealiasactual a t))",
            "the type of an alias, in a block that is abstract, or takes names from elsewhere",
        ),
        (
            "(block b (typealias a) (typealiasactual a t)) (in b (type t))",
            "found the type of an alias in a block that \"in\" adds to",
        ),
    ] {
        let found = lines(&format!("{declarations} {}", filecon("a"))).unwrap_err();
        assert!(found.contains(problem), "{declarations}: {found}");
    }
}

/// Without a limit, each type in a block whose name is long takes as much memory as the name.
#[test]
fn names_without_a_limit_are_refused() {
    let long = "a".repeat(2047);
    assert!(lines(&format!("(type {long})")).is_ok());
    for text in [
        format!("(type {long}a)"),
        format!("(block {long})"),
        format!("(block a (type {}))", "a".repeat(2046)),
        format!("(block {0} (block {0}))", "a".repeat(1024)),
        format!("(filecon \"/a\" any (u r {long}a ((s0) (s0))))"),
    ] {
        let found = lines(&text).unwrap_err();
        assert!(found.contains("found a longer name"), "{found}");
    }
    // Each dot would be a block to look in.
    assert!(lines("(block a.b)").unwrap_err().contains("expected a name without a dot"));
    let block = "a".repeat(2000);
    for statement in ["(type t)", "(role t)", "(filecon \"/\" any ())"] {
        let text = format!("(block {block} {})", statement.repeat(9000));
        assert!(lines(&text).unwrap_err().starts_with("found more than 16777216 bytes of names"));
    }
}

#[test]
fn what_is_no_cil_is_refused() {
    let deep = "(block a ".repeat(40);
    for (text, problem) in [
        (")", "found \")\", expected a statement"),
        ("x", "found \"x\", expected a statement"),
        ("(block a", "found the end"),
        ("(a (b)", "found the end, expected \")\""),
        ("(a \"x)\n", "a string without an end"),
        ("((a))", "found \"(\", expected a statement's keyword"),
        ("(type a b)", "expected (type NAME)"),
        ("(block (a))", "the name of a block"),
        ("(filecon)", "(filecon PATTERN"),
        ("(filecon \"/a\" fifo ())", "found \"fifo\", expected any, file"),
        ("(filecon \"/a\" any () x)", "(filecon PATTERN"),
        ("(filecon \"/a b\" any ())", "the pattern \"/a b\""),
        ("(filecon \"\" any ())", "the pattern \"\""),
        ("(filecon \"/a\" any (u r \u{e4} ((s0) (s0))))", "(filecon PATTERN"),
        (&*deep, "expected"),
    ] {
        let found = lines(text).unwrap_err();
        assert!(found.contains(problem), "{text}: {found}");
    }
    assert!(lines("(block a (block b))").unwrap().is_empty());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[()\" ;\na-z0-9/]{0,60}", prefix in 0..3_usize) {
        let start = ["", "(filecon \"/a\" any (u r t ((s0) ", "(block b "][prefix];
        let _ = lines(&format!("{start}{text}"));
    }
}
