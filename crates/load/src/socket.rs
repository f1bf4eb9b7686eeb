//! A WebSocket that never blocks, from dialling to closing.

use std::io::ErrorKind;
use std::net::{Shutdown, SocketAddr};
use std::str::FromStr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use tungstenite::handshake::MidHandshake;
use tungstenite::handshake::client::ClientHandshake;
use tungstenite::http::{Request, Uri};
use tungstenite::{Error, HandshakeError, Message, WebSocket};

/// What to open.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// The server.
    pub server: SocketAddr,
    /// Its name and port, for `Host`.
    pub host: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// The token.
    pub token: &'a str,
}

enum State {
    Dialling(TcpStream, Box<Request<()>>),
    Shaking(Box<MidHandshake<ClientHandshake<TcpStream>>>),
    Open(Box<WebSocket<TcpStream>>),
    Closed,
}

/// A WebSocket on its way to being open, or open.
pub struct Socket(State);

impl std::fmt::Debug for Socket {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self.0 {
            State::Dialling(..) => "Dialling",
            State::Shaking(_) => "Shaking",
            State::Open(_) => "Open",
            State::Closed => "Closed",
        })
    }
}

impl Socket {
    /// Dial.
    pub fn dial(call: &Call<'_>, (registry, token): (&Registry, Token)) -> Result<Self, String> {
        let uri = Uri::from_str(&format!("ws://{}{}", call.host, call.path)).map_err(|error| error.to_string())?;
        let request = Request::builder()
            .uri(uri)
            .header("Host", call.host)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", tungstenite::handshake::client::generate_key())
            .header("Authorization", format!("Bearer {}", call.token))
            .body(())
            .map_err(|error| error.to_string())?;
        let mut stream = TcpStream::connect(call.server).map_err(|error| error.to_string())?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut stream, token, interest).map_err(|error| error.to_string())?;
        Ok(Self(State::Dialling(stream, Box::new(request))))
    }

    /// Go on after the poller has seen something. Gives each message that came.
    pub fn advance(&mut self, mut each: impl FnMut(&[u8])) -> Result<(), String> {
        loop {
            self.0 = match std::mem::replace(&mut self.0, State::Closed) {
                State::Dialling(stream, request) => {
                    if let Some(error) = stream.take_error().map_err(|error| error.to_string())? {
                        return Err(error.to_string());
                    }
                    if stream.peer_addr().is_err() {
                        self.0 = State::Dialling(stream, request);
                        return Ok(());
                    }
                    // Small frames are not worth waiting for each other.
                    stream.set_nodelay(true).map_err(|error| error.to_string())?;
                    shaken(tungstenite::client(*request, stream))?
                }
                State::Shaking(middle) => match shaken(middle.handshake())? {
                    State::Shaking(middle) => {
                        self.0 = State::Shaking(middle);
                        return Ok(());
                    }
                    open => open,
                },
                State::Open(mut socket) => {
                    let read = read(&mut socket, &mut each);
                    self.0 = State::Open(socket);
                    return read;
                }
                State::Closed => return Err("it is closed".into()),
            };
            if let State::Shaking(_) = self.0 {
                return Ok(());
            }
        }
    }

    /// Send a message.
    pub fn send(&mut self, message: Vec<u8>) -> Result<(), String> {
        let State::Open(socket) = &mut self.0 else { return Err("it is not open".into()) };
        blocking_is_fine(socket.write(Message::binary(message)))?;
        blocking_is_fine(socket.flush())
    }

    /// Let go of the connection. What was sent before still arrives.
    pub fn close(&mut self, registry: &Registry) {
        if let State::Open(socket) = &mut self.0 {
            // Closing with something unread would reset the connection, and the server might miss the goodbye.
            let _ = read(socket, &mut |_| {});
            let _ = socket.get_mut().shutdown(Shutdown::Write);
        }
        let stream = match &mut self.0 {
            State::Dialling(stream, _) => Some(stream),
            State::Shaking(middle) => Some(middle.get_mut().get_mut()),
            State::Open(socket) => Some(socket.get_mut()),
            State::Closed => None,
        };
        if let Some(stream) = stream {
            // It is gone either way.
            let _ = registry.deregister(stream);
        }
        self.0 = State::Closed;
    }
}

type Shaken = Result<
    (WebSocket<TcpStream>, tungstenite::handshake::client::Response),
    HandshakeError<ClientHandshake<TcpStream>>,
>;

fn shaken(outcome: Shaken) -> Result<State, String> {
    match outcome {
        Ok((socket, _)) => Ok(State::Open(Box::new(socket))),
        Err(HandshakeError::Interrupted(middle)) => Ok(State::Shaking(Box::new(middle))),
        Err(HandshakeError::Failure(Error::Http(response))) => {
            let body = response.body().as_deref().unwrap_or_default();
            Err(format!("{} {}", response.status().as_u16(), String::from_utf8_lossy(body)).trim().to_owned())
        }
        Err(HandshakeError::Failure(error)) => Err(error.to_string()),
    }
}

fn read(socket: &mut WebSocket<TcpStream>, each: &mut impl FnMut(&[u8])) -> Result<(), String> {
    blocking_is_fine(socket.flush())?;
    loop {
        match socket.read() {
            Ok(Message::Binary(message)) => each(&message),
            Ok(Message::Close(_)) => return Err("the server closed the connection".into()),
            Ok(_) => {}
            error => return blocking_is_fine(error.map(drop)),
        }
    }
}

fn blocking_is_fine(outcome: Result<(), Error>) -> Result<(), String> {
    match outcome {
        Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error.to_string()),
        Ok(()) => Ok(()),
    }
}
