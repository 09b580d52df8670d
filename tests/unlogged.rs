//! Nothing runs unlogged, shown by the compiler: each program in this folder that would execute what is not published,
//! or execute it twice, does not compile. The file beside it has the compiler's words, so it fails for that reason and no
//! other.
//!
//! Where a new compiler says it otherwise: `TRYBUILD=overwrite cargo test --test unlogged`, and read what has changed.

#[test]
fn r3_03_what_is_not_published_is_not_executed() {
    let programs = trybuild::TestCases::new();
    for refused in ["by_hand", "cloned", "asked_for", "twice", "early"] {
        programs.compile_fail(format!("tests/unlogged/{refused}.rs"));
    }
}
