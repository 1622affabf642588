//! Datagrams on their way between nodes: a frame each, two bytes of length (high byte first) and the bytes.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

/// A length prefix and the longest datagram.
const LONGEST_FRAME: usize = 2 + u16::MAX as usize;

/// Carries datagrams between a connected socket and a stream until the stream ends or nothing has moved for `idle`.
///
/// # Errors
/// The first failure of the stream, or of the socket (its peer is not there).
pub(super) async fn bridge<S>(socket: &UdpSocket, stream: &mut S, idle: Duration) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (mut from, mut to) = tokio::io::split(stream);
    let last = parking_lot::Mutex::new(Instant::now());
    let inward = async {
        let mut datagram = Vec::new();
        loop {
            let length = match from.read_u16().await {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return io::Result::Ok(()),
                Err(error) => return Err(error),
            };
            datagram.resize(length.into(), 0);
            from.read_exact(&mut datagram).await?;
            *last.lock() = Instant::now();
            socket.send(&datagram).await?;
        }
    };
    let outward = async {
        let mut frame = vec![0; LONGEST_FRAME];
        loop {
            let length = socket.recv(&mut frame[2..]).await?;
            let prefix = u16::try_from(length).map_err(io::Error::other)?;
            frame[..2].copy_from_slice(&prefix.to_be_bytes());
            *last.lock() = Instant::now();
            to.write_all(&frame[..2 + length]).await?;
        }
    };
    let silence = async {
        loop {
            let until = *last.lock() + idle;
            if Instant::now() >= until {
                return;
            }
            // Nothing else ends this wait.
            let _ = timeout_at(until, std::future::pending::<()>()).await;
        }
    };
    tokio::select! {
        biased;
        ended = inward => ended,
        ended = outward => ended,
        () = silence => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[tokio::test]
    async fn datagrams_keep_their_edges_and_silence_ends_it() {
        let (a, b) = (UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)), UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)));
        let (a, b) = (a.await.expect("a port"), b.await.expect("a port"));
        a.connect(b.local_addr().expect("bound")).await.expect("connected");
        b.connect(a.local_addr().expect("bound")).await.expect("connected");
        let (mut near, mut far) = tokio::io::duplex(1024);
        let talk = async {
            far.write_all(b"\x00\x03one\x00\x00\x00\x05three").await.expect("room");
            let mut read = [0; 16];
            for expected in [&b"one"[..], b"", b"three"] {
                let length = b.recv(&mut read).await.expect("a datagram");
                assert_eq!(&read[..length], expected);
            }
            b.send(b"answer").await.expect("sent");
            far.read_exact(&mut read[..8]).await.expect("a frame");
            assert_eq!(&read[..8], b"\x00\x06answer");
        };
        let (ended, ()) = tokio::join!(bridge(&a, &mut near, Duration::from_millis(50)), talk);
        ended.expect("ends by silence");
    }
}
