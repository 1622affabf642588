//! One agent at the other end of the shim's socket.

use crate::process::wire::{self, Frame, Reply, Request};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

/// Bytes that may wait for an agent that does not read, before it is cut off; it can connect again and learn everything.
const MAX_WAITING: usize = 32 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    /// It has introduced itself and hears events.
    pub(super) subscribed: bool,
}

impl Connection {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Connection { stream, input: Vec::new(), output: Vec::new(), subscribed: false })
    }

    /// Reads what has come; an error when the agent is gone or talks nonsense.
    pub(super) fn receive(&mut self) -> io::Result<Vec<Frame<Request>>> {
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.input.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let mut frames = Vec::new();
        while let Some(frame) = wire::decode(&mut self.input)? {
            frames.push(frame);
        }
        Ok(frames)
    }

    /// Queues a reply and sends what the socket takes.
    pub(super) fn send(&mut self, id: u64, reply: Reply) -> io::Result<()> {
        self.output.extend(wire::encode(id, reply)?);
        self.flush()
    }

    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(n) => drop(self.output.drain(..n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.output.len() > MAX_WAITING {
            return Err(io::Error::other("the agent does not read"));
        }
        Ok(())
    }
}
