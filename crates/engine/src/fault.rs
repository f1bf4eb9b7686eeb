//! Panics that cost one transport and are not printed.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic;
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keep panics of this thread off standard error; they are caught and reported as events.
pub fn guard_this_thread() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if GUARDED.get() {
                let place = info.location().map(|at| format!("{}:{}", short(at.file()), at.line()));
                let place = place.unwrap_or_default();
                PLACE.with_borrow_mut(|stored| *stored = place);
            } else {
                previous(info);
            }
        }));
    });
    GUARDED.set(true);
}

/// Say what a caught panic said, and where.
pub fn describe(panic: &(dyn Any + Send)) -> String {
    let message = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    let message = message.unwrap_or("panic");
    match PLACE.with_borrow_mut(std::mem::take) {
        place if place.is_empty() => message.to_owned(),
        place => format!("{message} at {place}"),
    }
}

/// A source file without the directories of the machine that built it: `crate-1.2.3/src/file.rs`.
fn short(file: &str) -> &str {
    let Some(source) = file.rfind("/src/") else { return file };
    file[..source].rfind('/').map_or(file, |start| &file[start + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caught_panic_says_what_and_where() {
        let caught = std::thread::spawn(|| {
            guard_this_thread();
            let panic = panic::catch_unwind(|| panic!("broken {}", "on purpose")).unwrap_err();
            describe(&*panic)
        });
        let said = caught.join().unwrap();
        assert!(said.starts_with("broken on purpose at ") && said.contains("fault.rs:"), "{said}");
    }

    #[test]
    fn places_do_not_tell_who_built_the_program() {
        assert_eq!(
            short("/home/me/.cargo/registry/src/index/str0m-0.25.0/src/format/pt.rs"),
            "str0m-0.25.0/src/format/pt.rs"
        );
        assert_eq!(short("crates/engine/src/hub.rs"), "engine/src/hub.rs");
        assert_eq!(short("hub.rs"), "hub.rs");
    }
}
