//! The extension module `greenroom._media._native`.
//!
//! Thin: it turns Python values into commands and events into tuples. The media thread never touches Python;
//! events wait in the engine until Python takes them, so the GIL is held only by Python's own threads.

mod calls;

use std::io;

use bytes::Bytes;
use greenroom_engine::{Command, EngineConfig, Event, Plan, Section, StartError};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

/// An event's kind: the first item of its tuple.
const ANSWERED: u8 = 0;
const REFUSED: u8 = 1;
const CONNECTED: u8 = 2;
const CLOSED: u8 = 3;
const CHANNEL_OPENED: u8 = 4;
const CHANNEL_CLOSED: u8 = 5;
const DATA: u8 = 6;
const STOPPED: u8 = 7;
const TRACK_STARTED: u8 = 8;
const AUDIO_LEVELS: u8 = 9;

/// A running media engine.
#[pyclass(frozen, module = "greenroom._media._native")]
struct Engine {
    engine: greenroom_engine::Engine,
    process: u32,
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (*, bind, port, addresses, max_message, send_buffer))]
    fn new(
        py: Python<'_>,
        bind: &str,
        port: u16,
        addresses: Vec<String>,
        max_message: u32,
        send_buffer: usize,
    ) -> PyResult<Self> {
        let address = |text: &str| text.parse().map_err(|_| PyValueError::new_err(text.to_owned()));
        let addresses = addresses.iter().map(|text| address(text)).collect::<PyResult<_>>()?;
        let config = EngineConfig { bind: address(bind)?, port, addresses, max_message, send_buffer };
        let engine = py.detach(|| greenroom_engine::Engine::start(&config)).map_err(os_error)?;
        Ok(Self { engine, process: std::process::id() })
    }

    #[getter]
    fn port(&self) -> u16 {
        self.engine.port()
    }

    fn fileno(&self) -> i32 {
        self.engine.event_fd()
    }

    fn create(&self, transport: u64, lite: bool) -> PyResult<()> {
        self.command(Command::Create { transport, lite })
    }

    /// `receive` holds `(mid, dtx, stereo)`, `send` holds `(mid, stream, track)`.
    fn offer(
        &self,
        request: u64,
        transport: u64,
        sdp: String,
        receive: Vec<(String, bool, bool)>,
        send: Vec<(String, String, String)>,
    ) -> PyResult<()> {
        let receive = receive.into_iter().map(|(mid, dtx, stereo)| (mid, Plan::Receive { dtx, stereo }));
        let send = send.into_iter().map(|(mid, stream, track)| (mid, Plan::Send { stream, track }));
        self.command(Command::Offer { request, transport, sdp, plans: receive.chain(send).collect() })
    }

    fn publish(&self, track: u64, transport: u64, mid: String) -> PyResult<()> {
        self.command(Command::Publish { track, transport, mid })
    }

    fn unpublish(&self, track: u64) -> PyResult<()> {
        self.command(Command::Unpublish(track))
    }

    fn forward(&self, track: u64, transport: u64, mid: String) -> PyResult<()> {
        self.command(Command::Forward { track, transport, mid })
    }

    fn unforward(&self, transport: u64, mid: String) -> PyResult<()> {
        self.command(Command::Unforward { transport, mid })
    }

    fn pause(&self, transport: u64, mid: String, paused: bool) -> PyResult<()> {
        self.command(Command::Pause { transport, mid, paused })
    }

    fn mute(&self, track: u64, muted: bool) -> PyResult<()> {
        self.command(Command::Mute { track, muted })
    }

    fn candidate(&self, transport: u64, candidate: String) -> PyResult<()> {
        self.command(Command::Candidate { transport, candidate })
    }

    fn send(&self, transports: Vec<u64>, label: &str, payload: &[u8]) -> PyResult<()> {
        self.command(Command::Send { transports, label: label.into(), payload: Bytes::copy_from_slice(payload) })
    }

    fn close(&self, transport: u64) -> PyResult<()> {
        self.command(Command::Close(transport))
    }

    /// Take up to `most` events as tuples that start with their kind.
    fn take<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for event in self.engine.take_events(most) {
            list.append(tuple(py, event)?)?;
        }
        Ok(list)
    }

    fn pending(&self) -> usize {
        self.engine.pending()
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, value) in self.engine.stats().items() {
            dict.set_item(name, value)?;
        }
        Ok(dict)
    }

    /// Ask the thread to close every transport and to end with `STOPPED`.
    fn finish(&self) -> PyResult<()> {
        self.command(Command::Stop)
    }

    /// Close every transport and join the thread. Idempotent.
    fn stop(&self, py: Python<'_>) {
        if self.is_mine() {
            py.detach(|| self.engine.stop());
        } else {
            self.engine.abandon();
        }
    }
}

impl Engine {
    fn is_mine(&self) -> bool {
        self.process == std::process::id()
    }

    fn command(&self, command: Command) -> PyResult<()> {
        if !self.is_mine() {
            return Err(PyRuntimeError::new_err("the media engine does not survive a fork"));
        }
        self.engine.command(command);
        Ok(())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if !self.is_mine() {
            self.engine.abandon();
        }
    }
}

fn tuple<'py>(py: Python<'py>, event: Event) -> PyResult<Bound<'py, PyTuple>> {
    match event {
        Event::Answered { request, answer: Ok(answer) } => {
            (ANSWERED, request, answer.sdp, sections(answer.sections)).into_pyobject(py)
        }
        Event::Answered { request, answer: Err(reason) } => (REFUSED, request, reason).into_pyobject(py),
        Event::TrackStarted(track) => (TRACK_STARTED, track).into_pyobject(py),
        Event::AudioLevels(levels) => (AUDIO_LEVELS, 0, PyTuple::new(py, levels)?).into_pyobject(py),
        Event::Stopped => (STOPPED, 0).into_pyobject(py),
        Event::Connected(transport) => (CONNECTED, transport).into_pyobject(py),
        Event::Closed { transport, reason, detail } => (CLOSED, transport, reason.as_str(), detail).into_pyobject(py),
        Event::ChannelOpened { transport, label } => (CHANNEL_OPENED, transport, &*label).into_pyobject(py),
        Event::ChannelClosed { transport, label } => (CHANNEL_CLOSED, transport, &*label).into_pyobject(py),
        Event::Data { transport, label, payload, .. } => {
            (DATA, transport, &*label, PyBytes::new(py, &payload)).into_pyobject(py)
        }
    }
}

/// Sections as tuples of mid, kind, direction and cid.
fn sections(sections: Vec<Section>) -> Vec<(String, String, String, String)> {
    sections.into_iter().map(|part| (part.mid, part.kind, part.direction, part.cid)).collect()
}

/// Read the sections of an offer; a `ValueError` says why it cannot be used.
#[pyfunction]
fn inspect_offer(sdp: &str) -> PyResult<Vec<(String, String, String, String)>> {
    greenroom_engine::inspect_offer(sdp).map(sections).map_err(PyValueError::new_err)
}

/// An `OSError` whose `errno` tells what was wrong.
fn os_error(error: StartError) -> PyErr {
    let code = match &error {
        StartError::PortInUse(_) => Some(libc::EADDRINUSE),
        StartError::AddressUnavailable(_) => Some(libc::EADDRNOTAVAIL),
        StartError::Io(error) => error.raw_os_error(),
    };
    match code {
        Some(code) => PyOSError::new_err((code, io::Error::from_raw_os_error(code).to_string())),
        None => PyOSError::new_err(error.to_string()),
    }
}

/// Rust media core of Greenroom.
#[pymodule(gil_used = true)]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::Engine;
    #[pymodule_export]
    use super::calls::Calls;
    #[pymodule_export]
    use super::inspect_offer;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("ANSWERED", super::ANSWERED)?;
        module.add("REFUSED", super::REFUSED)?;
        module.add("CONNECTED", super::CONNECTED)?;
        module.add("CLOSED", super::CLOSED)?;
        module.add("CHANNEL_OPENED", super::CHANNEL_OPENED)?;
        module.add("CHANNEL_CLOSED", super::CHANNEL_CLOSED)?;
        module.add("DATA", super::DATA)?;
        module.add("STOPPED", super::STOPPED)?;
        module.add("TRACK_STARTED", super::TRACK_STARTED)?;
        module.add("AUDIO_LEVELS", super::AUDIO_LEVELS)
    }
}
