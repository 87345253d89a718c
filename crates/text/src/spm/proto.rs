//! Protocol Buffers as far as a SentencePiece model needs them: fields of a message, one after the other.

use crate::TextError;

/// The value of a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
    Fixed64,
}

/// A field of a message: its number, its value, and the byte of the message where it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub(super) number: u64,
    pub(super) value: Value<'a>,
    at: usize,
}

impl<'a> Field<'a> {
    pub(super) fn number_of(&self, what: &'static str) -> Result<u64, TextError> {
        match self.value {
            Value::Number(number) => Ok(number),
            _ => Err(self.wrong(what, "a number")),
        }
    }

    pub(super) fn bytes_of(&self, what: &'static str) -> Result<&'a [u8], TextError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.wrong(what, "a string or a message")),
        }
    }

    pub(super) fn float_of(&self, what: &'static str) -> Result<f32, TextError> {
        match self.value {
            Value::Fixed32(bits) => Ok(f32::from_bits(bits)),
            _ => Err(self.wrong(what, "a float")),
        }
    }

    fn wrong(&self, what: &'static str, expected: &'static str) -> TextError {
        TextError::Field { what, at: self.at, expected }
    }
}

/// Reads the fields of a message.
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    what: &'static str,
}

impl<'a> Fields<'a> {
    /// The fields of `bytes`, which is `what`.
    pub(super) const fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, what }
    }

    pub(super) fn next(&mut self) -> Result<Option<Field<'a>>, TextError> {
        let at = self.at;
        if at == self.bytes.len() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => {
                self.take(8)?;
                Value::Fixed64
            }
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Fixed32(self.take(4)?.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))),
            _ => return Err(TextError::Field { what: self.what, at, expected: "a field of a type that there is" }),
        };
        Ok(Some(Field { number: key >> 3, value, at }))
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], TextError> {
        let end = usize::try_from(len).ok().and_then(|len| self.at.checked_add(len));
        let bytes = end.and_then(|end| self.bytes.get(self.at..end)).ok_or_else(|| self.truncated())?;
        self.at += bytes.len();
        Ok(bytes)
    }

    /// Seven bits a byte, the lowest first, until a byte without its highest bit.
    fn varint(&mut self) -> Result<u64, TextError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or_else(|| self.truncated())?;
            self.at += 1;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(TextError::Field { what: self.what, at: self.at, expected: "a number of at most 64 bits" })
    }

    fn truncated(&self) -> TextError {
        TextError::Truncated { what: self.what, at: self.at }
    }
}
