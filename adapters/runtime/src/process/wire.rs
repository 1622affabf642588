//! What agent and shim say to each other: frames of a four-byte big-endian length and that many bytes of JSON.
//!
//! The agent numbers its requests from 1 and every one gets one reply of that number, in any order. Replies numbered 0 are
//! events. A shim may be older or newer than the agent, for it survives an upgrade; so a field is only ever added with a
//! default, and the version rises when that is not enough.

use super::identity::Credentials;
use super::record::ContainerState;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use steersman_domain::Str;
use steersman_domain::ports::{ExitRecord, Limits, RuntimeError};

/// The version of this protocol.
pub(super) const VERSION: u32 = 1;

/// The largest frame that is read, in bytes: environments and the output of commands are far below.
const MAX_FRAME: usize = 16 * 1024 * 1024;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Frame<T> {
    pub(super) id: u64,
    pub(super) body: T,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Begins every connection: from here on events come too. Answered by `Hello`.
    Hello {
        version: u32,
    },
    Start(Box<Launch>),
    Stop {
        name: Str,
        grace_ms: u64,
    },
    Exec {
        name: Str,
        command: Vec<String>,
        timeout_ms: u64,
    },
    /// Ends every container and the shim itself.
    Shutdown,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    Hello {
        version: u32,
        containers: Vec<ContainerState>,
    },
    Started(ContainerState),
    Stopped(ExitRecord),
    Executed {
        exit_code: i32,
        output: Vec<u8>,
    },
    Done,
    Failed(Failure),
    /// Event: a container ended.
    Exited(ContainerState),
    /// Event: a process of the pod is about to listen.
    Listening,
}

/// A failure as it crosses the socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Failure {
    Refused(String),
    CannotRun { message: String, exit_code: i32 },
    NotFound(String),
    Unavailable(String),
}

impl From<Failure> for RuntimeError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(message) => RuntimeError::Refused(message),
            Failure::CannotRun { message, exit_code } => {
                RuntimeError::CannotRun { reason: "ContainerCannotRun", message, exit_code }
            }
            Failure::NotFound(what) => RuntimeError::NotFound(what),
            Failure::Unavailable(message) => RuntimeError::Unavailable(message),
        }
    }
}

/// One container to start, with everything decided that the agent can decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Launch {
    pub(super) name: Str,
    pub(super) attempt: u32,
    pub(super) id: Str,
    pub(super) command: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) working_dir: Option<PathBuf>,
    pub(super) credentials: Credentials,
    pub(super) limits: Limits,
    pub(super) mounts: Vec<MountPoint>,
    pub(super) read_only_root: bool,
    /// The name of the host in a namespace of the container's own.
    #[serde(default)]
    pub(super) hostname: Option<String>,
    /// Wildcard binds are rewritten to the pod's address.
    pub(super) rewrite_binds: bool,
}

/// A directory or file that appears at a path in the container's own mount namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MountPoint {
    pub(super) source: PathBuf,
    /// Below `source`, and confined to it.
    pub(super) sub_path: PathBuf,
    pub(super) target: PathBuf,
    pub(super) read_only: bool,
}

/// One frame as bytes.
pub(super) fn encode<T: Serialize>(id: u64, body: T) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, &Frame { id, body }).map_err(io::Error::from)?;
    let length = bytes.len() - 4;
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a message to or from the shim is larger than 16 MiB"));
    }
    bytes[..4].copy_from_slice(&u32::try_from(length).unwrap_or(0).to_be_bytes());
    Ok(bytes)
}

/// Takes the first whole frame out of what has arrived; `None` when there is none yet.
pub(super) fn decode<T: DeserializeOwned>(buffer: &mut Vec<u8>) -> io::Result<Option<Frame<T>>> {
    let Some(head) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*head) as usize;
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of the shim protocol is larger than 16 MiB"));
    }
    let Some(bytes) = buffer.get(4..4 + length) else { return Ok(None) };
    let frame = serde_json::from_slice(bytes).map_err(io::Error::from)?;
    buffer.drain(..4 + length);
    Ok(Some(frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let mut bytes = encode(7, Request::Hello { version: 1 }).unwrap();
        bytes.extend(encode(8, Request::Shutdown).unwrap());
        let mut buffer = Vec::new();
        let mut ids = Vec::new();
        for byte in bytes {
            buffer.push(byte);
            while let Some(frame) = decode::<Request>(&mut buffer).unwrap() {
                ids.push(frame.id);
            }
        }
        assert_eq!(ids, [7, 8]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_frame_that_claims_to_be_huge_is_an_error() {
        let mut buffer = vec![0xff; 8];
        assert!(decode::<Request>(&mut buffer).is_err());
    }
}
