//! `greenroom-load`: see `--help`.

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use greenroom_load::order::{Arguments, HELP, Order};
use greenroom_load::{fleet, floor};
use serde::Serialize;

fn main() -> ExitCode {
    let mut words = env::args().skip(1).peekable();
    if words.peek().is_none_or(|word| word == "--help" || word == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let is_floor = words.next_if(|word| word == "floor").is_some();
    let outcome = Arguments::read(words).and_then(|given| if is_floor { sendto(given) } else { load(given) });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("greenroom-load: {reason}");
            ExitCode::from(2)
        }
    }
}

fn load(given: Arguments) -> Result<(), String> {
    let name = |name: &str| env::var(name).map_err(|_| format!("{name} is not set"));
    let order = Order::read(given, name("LIVEKIT_API_KEY")?, name("LIVEKIT_API_SECRET")?)?;
    fleet::run(&order, tell).map_err(|error| error.to_string())
}

fn sendto(mut given: Arguments) -> Result<(), String> {
    let fan = given.number("fan", 100.0, (1.0, 1000.0))? as usize;
    let rate = given.number("rate", 50.0, (0.1, 10_000.0))?;
    let size = given.number("size", 80.0, (0.0, 1400.0))? as usize;
    let seconds = given.number("seconds", 5.0, (0.1, 3600.0))?;
    given.finish()?;
    let outcome = floor::run(fan, rate, size, Duration::from_secs_f64(seconds));
    tell(&outcome.map_err(|error| error.to_string())?);
    Ok(())
}

/// Print a line at once; a reader that has gone away ends the program soon enough.
fn tell(report: &impl Serialize) {
    if let Ok(line) = serde_json::to_string(report) {
        let mut out = io::stdout().lock();
        let _gone = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}
