//! The protobuf wire format: a reader of fields and a small writer.

/// The value of one field as the wire has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireValue<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Eight or four bytes; Kubernetes' messages have none, but they must be skipped.
    Fixed,
}

/// Reads a message field by field.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field number and value, or nothing at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, WireValue<'a>)>, &'static str> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| "a field number out of range")?;
        if number == 0 {
            return Err("field number 0");
        }
        let value = match key & 7 {
            0 => WireValue::Varint(self.varint()?),
            1 => {
                self.take(8)?;
                WireValue::Fixed
            }
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| "a length out of range")?;
                WireValue::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                WireValue::Fixed
            }
            _ => return Err("a wire type that is not in use"),
        };
        Ok(Some((number, value)))
    }

    /// The numbers of a packed list.
    pub(super) fn next_packed(&mut self) -> Result<Option<u64>, &'static str> {
        if self.rest.is_empty() { Ok(None) } else { self.varint().map(Some) }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or("it ends in the middle of a field")?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or("it ends in the middle of a number")?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte holds the one bit that is left of the 64.
            if shift == 63 && bits > 1 {
                return Err("a number out of range");
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number out of range")
    }
}

/// Writes a message.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A message, written by `fill`, as a field.
    pub(crate) fn message(&mut self, number: u32, fill: impl FnOnce(&mut Writer)) {
        let mut inner = Writer::default();
        fill(&mut inner);
        self.bytes(number, &inner.bytes);
    }

    /// Bytes as a field.
    pub(crate) fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.varint(u64::from(number) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    /// Text as a field; empty text is left out, which is its default.
    pub(crate) fn text(&mut self, number: u32, text: &str) {
        if !text.is_empty() {
            self.bytes(number, text.as_bytes());
        }
    }

    /// A flag as a field; `false` is left out, which is its default.
    pub(crate) fn flag(&mut self, number: u32, flag: bool) {
        if flag {
            self.varint(u64::from(number) << 3);
            self.varint(1);
        }
    }

    /// A number as a field, zero included.
    #[cfg(test)]
    pub(crate) fn varint_field(&mut self, number: u32, value: u64) {
        self.varint(u64::from(number) << 3);
        self.varint(value);
    }

    /// Bytes as they are, without a field number.
    #[cfg(test)]
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// What was written.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::default();
        writer.text(1, "hi");
        writer.text(2, "");
        writer.flag(300, true);
        writer.message(4, |w| w.bytes(1, &[0; 200]));
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.next(), Ok(Some((1, WireValue::Bytes(b"hi")))));
        assert_eq!(reader.next(), Ok(Some((300, WireValue::Varint(1)))));
        assert!(matches!(reader.next(), Ok(Some((4, WireValue::Bytes(inner)))) if inner.len() == 203));
        assert_eq!(reader.next(), Ok(None));
    }

    #[test]
    fn broken_input_is_refused() {
        for bytes in [
            &[0x0a, 5, 1][..],
            &[0x08],
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            &[0x00, 0x00],
            &[0x0b],
            &[0x09, 1],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        ] {
            assert!(Reader::new(bytes).next().is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn negative_numbers_take_ten_bytes() {
        let bytes = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Reader::new(&bytes).next(), Ok(Some((1, WireValue::Varint(u64::MAX)))));
    }
}
