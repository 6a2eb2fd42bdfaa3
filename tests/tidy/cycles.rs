//! No module of `src` depends on itself, directly or through others.
//!
//! Each file is a module. A module depends on another if it names something that is defined there, in a `use` or by a
//! path. A name that a module only re-exports counts for the module that defines it. Declaring a child (`mod x;`)
//! creates no dependency. Re-exporting from a child (`pub use x::Y;`) creates one only if the module also uses `Y`
//! itself. A private `use` always creates one. A parent may use its children, or be used by them, but not both. Tests
//! may depend on anything.
//!
//! The same holds for the modules of `src/lib.rs`, each with all files of its folder.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    files::{library_layers, report, sources},
    source::{File, Named},
};

type Path = Vec<String>;
/// The modules on which each module depends.
type Needs = BTreeMap<Path, BTreeSet<Path>>;

#[test]
fn no_two_files_of_a_folder_need_each_other() {
    let modules = modules();
    let mut needs = Needs::new();
    for (name, module) in &modules.0 {
        let within = |other: &Path| other.first() == name.first();
        needs.insert(name.clone(), module.needs(&modules).into_iter().filter(within).collect());
    }
    report(&cycles(&needs).into_values().collect::<Vec<_>>());
}

#[test]
fn no_two_modules_of_the_library_need_each_other() {
    let mut needs = Needs::new();
    for (name, module) in modules().0 {
        let Some(layer) = name.first() else { continue };
        let inside = module.named.iter().filter_map(|named| named.inside.as_ref()?.first());
        let others = inside.filter(|other| *other != layer).map(|other| vec![other.clone()]);
        needs.entry(vec![layer.clone()]).or_default().extend(others);
    }
    report(&cycles(&needs).into_values().collect::<Vec<_>>());
}

#[test]
fn a_cycle_is_found_but_not_a_dependency_in_one_direction() {
    for (parent, child, expected) in [
        // Only the parent uses its child.
        ("mod b; pub use b::B; pub(crate) use self::b::C;", "struct B; struct C;", ""),
        ("mod b; pub use b::B; fn f(b: &B) {}", "struct B;", ""),
        // Only the child uses its parent.
        ("mod b; pub struct A;", "use super::A; struct B;", ""),
        (
            "mod b; pub struct A; impl A { fn f(&self) { self.g() } }",
            "use super::A; impl A { fn g(&self) {} }",
            "",
        ),
        // The child takes a name from its parent that the parent does not define.
        ("mod b; use crate::c::C; fn f() { b::f() }", "use super::C; fn f(c: C) {}", ""),
        ("mod b; pub use b::B; fn f() { b::f() }", "use super::B; struct B;", ""),
        // Tests do not count.
        (
            "mod b; fn f() { b::f() } pub struct A; #[cfg(test)] mod tests { use super::b::B; }",
            "struct B;",
            "",
        ),
        ("mod b; #[cfg(test)] use b::B; pub struct A;", "use super::A; fn f() {}", ""),
        // Each uses the other.
        ("mod b; use b::B; pub struct A;", "use super::A; struct B;", "a::b needs a needs a::b"),
        ("mod b; pub use b::B; struct A(B);", "use super::A; struct B;", "a::b needs a needs a::b"),
        ("mod b; fn f() { b::f() } fn g() {}", "fn f() { super::g() }", "a::b needs a needs a::b"),
        (
            "mod b; fn f() { crate::a::b::f() } const K: u8 = 1;",
            "fn f() { crate::a::K; }",
            "a::b needs a needs a::b",
        ),
    ] {
        let parent_file = File::new("src/a.rs", parent.to_owned(), "a");
        let child_file = File::new("src/a/b.rs", child.to_owned(), "a");
        let modules =
            Modules::of([parent_file, child_file, File::new("src/c.rs", "struct C;".to_owned(), "c")]);
        let needs = modules.0.iter().map(|(name, module)| (name.clone(), module.needs(&modules))).collect();
        let found = cycles(&needs).into_values().next_back().unwrap_or_default();
        assert!(
            found.contains(expected) && found.is_empty() == expected.is_empty(),
            "{parent} {child}: {found}"
        );
    }
}

fn modules() -> Modules {
    let layers = library_layers();
    let of_library = |file: &File| layers.contains(&file.layer) && !file.is_of_tests();
    Modules::of(sources("src").into_iter().filter(of_library))
}

struct Modules(BTreeMap<Path, Module>);

struct Module {
    name: Path,
    /// The paths that the module names. [`Named::inside`] is also set for a path that begins with a child's name, such as
    /// `b::f` in the parent of `b`.
    named: Vec<Named>,
    items: BTreeSet<String>,
    bare_names: BTreeSet<String>,
}

const ITEMS: [&str; 10] =
    ["struct", "enum", "union", "trait", "type", "fn", "const", "static", "macro_rules", "mod"];

impl Modules {
    fn of(files: impl IntoIterator<Item = File>) -> Self {
        Self(
            files
                .into_iter()
                .map(|file| Module::of(&file.without_tests()))
                .map(|module| (module.name.clone(), module))
                .collect(),
        )
    }

    /// The module that defines this path; `None` for the library's root.
    fn definer(&self, path: &[String]) -> Option<&Module> {
        self.definer_within(path, 8)
    }

    /// Like [`Self::definer`], but follows at most `steps` re-exports, because they can form a cycle.
    fn definer_within(&self, path: &[String], steps: usize) -> Option<&Module> {
        let module = (1..=path.len()).rev().find_map(|length| self.0.get(&path[..length]))?;
        let Some(item) = path.get(module.name.len()).filter(|item| *item != "*" && steps > 0) else {
            return Some(module);
        };
        if module.items.contains(item) {
            return Some(module);
        }
        let imported = module.named.iter().find_map(|named| {
            let import = named.import.as_ref()?;
            let inside = named.inside.as_ref()?;
            match import.name.as_str() {
                // A glob import provides the name if the imported module defines it.
                "*" => {
                    let from = self.0.get(&inside[..inside.len() - 1])?;
                    from.items.contains(item).then_some(from)
                }
                name if name == item => self.definer_within(inside, steps - 1),
                _ => None,
            }
        });
        imported.or(Some(module))
    }
}

impl Module {
    fn of(file: &File) -> Self {
        let name = file.module();
        let children: BTreeSet<String> = file.items(&["mod"]).into_iter().map(|(child, _)| child).collect();
        let mut named = file.paths();
        for named in &mut named {
            if named.inside.is_none() && named.path.first().is_some_and(|first| children.contains(first)) {
                named.inside = Some([name.as_slice(), &named.path].concat());
            }
        }
        let items = file.items(&ITEMS).into_iter().map(|(item, _)| item);
        Self {
            named,
            items: items.filter(|item| !children.contains(item)).collect(),
            bare_names: file.bare_names(),
            name,
        }
    }

    fn needs(&self, modules: &Modules) -> BTreeSet<Path> {
        // `pub(in crate::a)` names an outer module, but uses nothing from it.
        let is_visibility = |named: &Named| {
            let outer = named.inside.as_ref().filter(|inside| self.name.starts_with(inside));
            outer.is_some_and(|outer| outer.len() < self.name.len())
        };
        let names = self.named.iter().filter(|named| !self.only_re_exports(named) && !is_visibility(named));
        let definers = names.filter_map(|named| modules.definer(named.inside.as_ref()?));
        definers.filter(|definer| definer.name != self.name).map(|definer| definer.name.clone()).collect()
    }

    fn only_re_exports(&self, named: &Named) -> bool {
        let is_from_child = named.inside.as_ref().is_some_and(|inside| inside.starts_with(&self.name));
        let re_exported = named.import.as_ref().filter(|import| import.is_public);
        is_from_child && re_exported.is_some_and(|import| !self.bare_names.contains(&import.name))
    }
}

/// Each module that depends on itself, with a shortest cycle as text.
fn cycles(needs: &Needs) -> BTreeMap<Path, String> {
    let way_around = |start: &Path| {
        let mut before: BTreeMap<&Path, &Path> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(module) = queue.pop_front() {
            for needed in needs.get(module).into_iter().flatten() {
                if before.contains_key(needed) {
                    continue;
                }
                before.insert(needed, module);
                queue.push_back(needed);
            }
        }
        let mut way = vec![start.join("::")];
        let mut at = *before.get(start)?;
        while at != start {
            way.push(at.join("::"));
            at = before[at];
        }
        way.push(start.join("::"));
        way.reverse();
        Some((start.clone(), format!("{}: move what both need to a third module", way.join(" needs "))))
    };
    needs.keys().filter_map(way_around).collect()
}
