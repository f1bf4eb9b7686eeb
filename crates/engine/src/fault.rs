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
                let place = info.location().map(ToString::to_string).unwrap_or_default();
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
