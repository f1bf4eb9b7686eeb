//! Calls to a LiveKit server whose signalling Python does: what `greenroom doctor` probes media with.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use greenroom_load::calls::CallId;
use greenroom_load::peer::{News, Sections};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

/// A piece of news: the call, its kind, the data channel and the message it is about.
type Told = (CallId, &'static str, String, Py<PyBytes>);

/// Peers and the loop that serves them, one step at a time.
#[pyclass(frozen, module = "greenroom._media._native")]
pub struct Calls(Mutex<greenroom_load::calls::Calls>);

#[pymethods]
impl Calls {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        let calls = py.detach(greenroom_load::calls::Calls::new).map_err(os_error)?;
        Ok(Self(Mutex::new(calls)))
    }

    /// Returns the call's number and its first offer.
    fn open(&self, py: Python<'_>, host: &str, audio: usize, video: usize) -> PyResult<(CallId, String)> {
        let host = host.parse().map_err(|_| PyValueError::new_err(host.to_owned()))?;
        py.detach(|| self.calls().open(host, Sections { audio, video })).map_err(os_error)
    }

    #[pyo3(signature = (call, audio, mic=None))]
    fn offer(&self, py: Python<'_>, call: CallId, audio: usize, mic: Option<&str>) -> PyResult<Option<String>> {
        py.detach(|| self.calls().offer(call, audio, mic)).map_err(PyValueError::new_err)
    }

    fn answer(&self, py: Python<'_>, call: CallId, sdp: &str) -> PyResult<()> {
        py.detach(|| self.calls().answer(call, sdp)).map_err(PyValueError::new_err)
    }

    fn candidate(&self, py: Python<'_>, call: CallId, line: &str) -> PyResult<()> {
        py.detach(|| self.calls().candidate(call, line)).map_err(PyValueError::new_err)
    }

    fn speak(&self, py: Python<'_>, call: CallId, size: usize, period: f64) -> PyResult<()> {
        let period = Duration::try_from_secs_f64(period).map_err(|error| PyValueError::new_err(error.to_string()))?;
        py.detach(|| self.calls().speak(call, size, period)).map_err(PyValueError::new_err)
    }

    fn send(&self, py: Python<'_>, call: CallId, label: &str, payload: &[u8]) -> PyResult<bool> {
        py.detach(|| self.calls().send(call, label, payload)).map_err(PyValueError::new_err)
    }

    /// Serve all calls for so many seconds, or until there is news.
    fn run(&self, py: Python<'_>, seconds: f64) -> PyResult<Vec<Told>> {
        let time = Duration::try_from_secs_f64(seconds).map_err(|error| PyValueError::new_err(error.to_string()))?;
        let news = py.detach(|| self.calls().run(time)).map_err(os_error)?;
        Ok(news.into_iter().map(|(call, news)| told(py, call, news)).collect())
    }

    /// What a call has sent and received.
    fn heard<'py>(&self, py: Python<'py>, call: CallId) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        if let Some(heard) = py.detach(|| self.calls().heard(call)) {
            dict.set_item("sent", heard.sent)?;
            dict.set_item("received", heard.received)?;
            dict.set_item("lost", heard.lost)?;
            dict.set_item("strange", heard.strange)?;
            dict.set_item("latency", heard.latency.map(|time| time.as_secs_f64()))?;
        }
        Ok(dict)
    }

    fn close(&self, py: Python<'_>, call: CallId) {
        py.detach(|| self.calls().close(call));
    }
}

impl Calls {
    fn calls(&self) -> MutexGuard<'_, greenroom_load::calls::Calls> {
        // A panic leaves a call half-done, not the others.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn told(py: Python<'_>, call: CallId, news: News) -> Told {
    let (kind, label, message) = match news {
        News::Reachable => ("reachable", String::new(), Vec::new()),
        News::Connected => ("connected", String::new(), Vec::new()),
        News::Closed => ("closed", String::new(), Vec::new()),
        News::Opened(label) => ("opened", label, Vec::new()),
        News::Message(label, message) => ("message", label, message),
    };
    (call, kind, label, PyBytes::new(py, &message).unbind())
}

fn os_error(error: std::io::Error) -> PyErr {
    error
        .raw_os_error()
        .map_or_else(|| PyOSError::new_err(error.to_string()), |code| PyOSError::new_err((code, error.to_string())))
}
