//! Counts the bytes of one HTTP/1.x message body as they pass.

/// A body in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Body(State);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Done,
    /// Bytes left of a known length.
    Length(u64),
    /// Ends with the connection.
    UntilClose,
    /// Hexadecimal digits of a chunk's size, with their number so far.
    Size(u64, u8),
    /// After the size, up to the end of its line.
    Extension(u64),
    /// The line feed that ends the size line.
    SizeEnd(u64),
    /// Bytes left in the chunk.
    Data(u64),
    /// The line end after a chunk: carriage return, then line feed.
    DataCr,
    DataLf,
    /// At the start of a line of the trailer section.
    TrailerStart,
    /// Inside such a line.
    Trailer,
    /// The line feed that ends the message.
    LastLf,
}

impl Body {
    /// A body of a known length; none when it is 0.
    pub(super) fn of_length(length: u64) -> Option<Self> {
        (length > 0).then_some(Self(State::Length(length)))
    }

    pub(super) fn chunked() -> Self {
        Self(State::Size(0, 0))
    }

    pub(super) fn until_close() -> Self {
        Self(State::UntilClose)
    }

    pub(super) fn is_done(&self) -> bool {
        self.0 == State::Done
    }

    /// Counts `data` and returns how much of it belongs to the body; `None` when it breaks the chunk syntax.
    pub(super) fn advance(&mut self, data: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < data.len() && self.0 != State::Done {
            let left = data.len() - at;
            at += match &mut self.0 {
                State::UntilClose => left,
                State::Length(rest) => {
                    let taken = take(rest, left);
                    if *rest == 0 {
                        self.0 = State::Done;
                    }
                    taken
                }
                State::Data(rest) => {
                    let taken = take(rest, left);
                    if *rest == 0 {
                        self.0 = State::DataCr;
                    }
                    taken
                }
                syntax => {
                    *syntax = syntax.on_byte(data[at])?;
                    1
                }
            };
        }
        Some(at)
    }
}

fn take(rest: &mut u64, available: usize) -> usize {
    let taken = usize::try_from(*rest).unwrap_or(usize::MAX).min(available);
    *rest -= taken as u64;
    taken
}

impl State {
    fn on_byte(self, byte: u8) -> Option<Self> {
        let next = match (self, byte) {
            // Sixteen digits fill 64 bits.
            (Self::Size(size, digits), byte) if byte.is_ascii_hexdigit() && digits < 16 => {
                let digit = char::from(byte).to_digit(16)?;
                Self::Size((size << 4) | u64::from(digit), digits + 1)
            }
            (Self::Size(size, 1..), b'\r') => Self::SizeEnd(size),
            (Self::Size(size, 1..), b';' | b' ' | b'\t') => Self::Extension(size),
            (Self::Extension(size), b'\r') => Self::SizeEnd(size),
            (Self::Extension(size), byte) if byte != b'\n' => Self::Extension(size),
            (Self::SizeEnd(0), b'\n') => Self::TrailerStart,
            (Self::SizeEnd(size), b'\n') => Self::Data(size),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Size(0, 0),
            (Self::TrailerStart, b'\r') => Self::LastLf,
            (Self::TrailerStart, byte) if byte != b'\n' => Self::Trailer,
            (Self::Trailer, b'\n') => Self::TrailerStart,
            (Self::Trailer, _) => Self::Trailer,
            (Self::LastLf, b'\n') => Self::Done,
            (
                Self::Done
                | Self::Length(_)
                | Self::UntilClose
                | Self::Size(..)
                | Self::Extension(_)
                | Self::SizeEnd(_)
                | Self::Data(_)
                | Self::DataCr
                | Self::DataLf
                | Self::TrailerStart
                | Self::LastLf,
                _,
            ) => return None,
        };
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_counted_to_the_byte() {
        let mut body = Body::of_length(5).unwrap();
        assert_eq!(body.advance(b"abc"), Some(3));
        assert!(!body.is_done());
        assert_eq!(body.advance(b"deNEXT"), Some(2));
        assert!(body.is_done());
        assert!(Body::of_length(0).is_none());
        assert_eq!(Body::until_close().advance(b"anything"), Some(8));
    }

    #[test]
    fn chunks_end_where_they_should_however_they_are_split() {
        let message = b"5;name=v\r\nhello\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nX-Sum: 1\r\n\r\n";
        for split in 0..message.len() {
            let mut body = Body::chunked();
            assert_eq!(body.advance(&message[..split]), Some(split));
            let mut rest = message[split..].to_vec();
            rest.extend_from_slice(b"HTTP/1.1");
            assert_eq!(body.advance(&rest), Some(message.len() - split), "split at {split}");
            assert!(body.is_done());
        }
    }

    #[test]
    fn broken_chunks_are_refused() {
        for broken in ["\r\n", "xyz\r\n", "5\nhello", "5\r\nhelloX", "11111111111111111\r\n", "0\r\n\n", "5;a\n"] {
            assert_eq!(Body::chunked().advance(broken.as_bytes()), None, "{broken:?}");
        }
    }
}
