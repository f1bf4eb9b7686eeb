//! Makes Rust of LiveKit's own message definitions, `proto/`.

#[cfg(feature = "signal")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["livekit_rtc.proto"], ["proto"])?;
    prost_build::Config::new().disable_comments(["."]).compile_fds(files)?;
    Ok(())
}

#[cfg(not(feature = "signal"))]
fn main() {}
