//! Every row of the registry, as a whole.

use super::super::FunctionRegistry;

#[test]
fn every_row_is_documented_and_named_by_its_signature() {
    let registry = FunctionRegistry::builtin();
    let mut names: Vec<&str> = registry.names().collect();
    names.sort_unstable();
    assert!(names.len() >= 100, "{} names", names.len());
    for f in registry.all() {
        assert!(
            f.signature.starts_with(&format!("{}(", f.name)) && f.signature.ends_with(')'),
            "{}",
            f.signature
        );
        assert_eq!(f.name, f.name.to_ascii_lowercase());
        assert!(
            !f.doc.is_empty() && !f.doc.ends_with('.') && !f.doc.contains('\n'),
            "{}: {}",
            f.signature,
            f.doc
        );
        assert!(!f.family.is_empty() && !f.example.0.is_empty(), "{}", f.signature);
        let called = f.example.0.contains(&format!("{}(", f.name)) || !f.example.0.contains('(');
        assert!(called, "the example of {} does not call it", f.signature);
    }
}
