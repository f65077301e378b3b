//! `inspect` shows what Python's `print(exported_program)` shows: the `.txt` beside each archive.

use exported_codegen::{archive, inspect, schema};

fn check(file: &[u8], expected: &str) {
    let archive = archive::read(file, &archive::Limits::default()).unwrap_or_else(|e| panic!("{e}"));
    let program = schema::parse(&archive.program).unwrap_or_else(|e| panic!("{e}"));
    let found = inspect::print(&program);
    for (i, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "line {}", i + 1);
    }
    assert_eq!(found, expected);
}

#[test]
fn a_plain_function() {
    let expected = include_str!("../fixtures/layouts/sin_cos.2.15.0.txt");
    check(include_bytes!("../fixtures/layouts/sin_cos.2.15.0.pt2"), expected);
}

#[test]
fn parameters_buffers_and_mutation() {
    let expected = include_str!("../fixtures/layouts/buffer_mutation.2.15.0.txt");
    check(include_bytes!("../fixtures/layouts/buffer_mutation.2.15.0.pt2"), expected);
}

#[test]
fn subgraphs_symbols_and_ranges() {
    let expected = include_str!("../fixtures/layouts/cond_on_shape.2.15.0.txt");
    check(include_bytes!("../fixtures/layouts/cond_on_shape.2.15.0.pt2"), expected);
}
