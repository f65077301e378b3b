//! A model's state as a value that outlives the model: kept over a sleep, sent to another device, written to flash.
//!
//! A snapshot borrows the bytes it stands for and carries the fingerprint of the model, so that neither saving nor loading
//! needs memory of its own, and state never gets into a model that would read it differently. Its plain form is the
//! fingerprint and then the bytes; with the feature `serde` it can be part of a message, in formats that lend bytes (as
//! postcard does, not JSON); the feature `postcard` adds that format.

use crate::error::{Error, StateFault};

/// What one instance of a model remembers, with the fingerprint of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot<'a> {
    /// `FINGERPRINT` of the module that made it.
    pub fingerprint: &'a [u8; 32],
    /// The mutated buffers, little-endian, in the module's order.
    pub state: &'a [u8],
}

impl<'a> Snapshot<'a> {
    /// Writes the plain form to the beginning of `to`; gives the number of bytes written.
    ///
    /// # Errors
    /// [`Error::Capacity`] when `to` is shorter than 32 bytes and the state; nothing is written then.
    #[inline]
    pub fn write(&self, to: &mut [u8]) -> Result<usize, Error> {
        let (head, rest) = to.split_first_chunk_mut().ok_or(Error::Capacity)?;
        crate::copy_into(self.state, rest)?;
        *head = *self.fingerprint;
        Ok(head.len() + self.state.len())
    }

    /// Reads the plain form: all of `from`.
    ///
    /// # Errors
    /// [`StateFault::Format`] when it is shorter than a fingerprint.
    #[inline]
    pub fn read(from: &'a [u8]) -> Result<Self, Error> {
        let (fingerprint, state) = from.split_first_chunk().ok_or(Error::State { fault: StateFault::Format })?;
        Ok(Snapshot { fingerprint, state })
    }

    /// The bytes, if they are those of the given model.
    ///
    /// # Errors
    /// [`StateFault::Fingerprint`] when they are not.
    #[inline]
    pub fn of(&self, fingerprint: &[u8; 32]) -> Result<&'a [u8], Error> {
        if self.fingerprint == fingerprint {
            Ok(self.state)
        } else {
            Err(Error::State { fault: StateFault::Fingerprint })
        }
    }
}

/// The first number of the serialized form; another one is refused.
#[cfg(feature = "serde")]
const VERSION: u8 = 1;

#[cfg(feature = "serde")]
mod serialized {
    use super::{Snapshot, VERSION};
    use core::fmt;
    use serde_core::de::{Deserialize, Deserializer, Error, SeqAccess, Unexpected, Visitor};
    use serde_core::ser::{Serialize, SerializeTuple, Serializer};

    /// Bytes as bytes, where serde makes a sequence of a slice.
    struct Bytes<'a>(&'a [u8]);

    impl Serialize for Bytes<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.0)
        }
    }

    /// A tuple: version of this form, fingerprint, state.
    impl Serialize for Snapshot<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut tuple = serializer.serialize_tuple(3)?;
            tuple.serialize_element(&VERSION)?;
            tuple.serialize_element(&Bytes(self.fingerprint))?;
            tuple.serialize_element(&Bytes(self.state))?;
            tuple.end()
        }
    }

    /// Borrows from the input.
    impl<'de: 'a, 'a> Deserialize<'de> for Snapshot<'a> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_tuple(3, Parts)
        }
    }

    struct Parts;

    impl<'de> Visitor<'de> for Parts {
        type Value = Snapshot<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the state of a model: version, fingerprint, bytes")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
            let missing = |i| A::Error::invalid_length(i, &self);
            let version: u8 = parts.next_element()?.ok_or_else(|| missing(0))?;
            if version != VERSION {
                return Err(A::Error::invalid_value(Unexpected::Unsigned(version.into()), &self));
            }
            let fingerprint: &'de [u8] = parts.next_element()?.ok_or_else(|| missing(1))?;
            let fingerprint = fingerprint.try_into().map_err(|_| A::Error::invalid_length(fingerprint.len(), &self))?;
            let state: &'de [u8] = parts.next_element()?.ok_or_else(|| missing(2))?;
            Ok(Snapshot { fingerprint, state })
        }
    }
}

#[cfg(feature = "postcard")]
impl<'a> Snapshot<'a> {
    /// Most bytes that [`Snapshot::to_postcard`] writes for a state of this many (`STATE_BYTES` of the module).
    pub const fn postcard_bytes(state: usize) -> usize {
        // The version, the fingerprint with its length, the state with its length in groups of 7 bits.
        1 + 1 + 32 + (usize::BITS as usize).div_ceil(7) + state
    }

    /// Writes postcard to the beginning of `to`; gives what was written.
    ///
    /// # Errors
    /// [`Error::Capacity`] when `to` is too short; what it holds then is of no use.
    pub fn to_postcard<'t>(&self, to: &'t mut [u8]) -> Result<&'t [u8], Error> {
        postcard::to_slice(self, to).map(|written| &*written).map_err(|_| Error::Capacity)
    }

    /// Reads what [`Snapshot::to_postcard`] wrote; bytes behind it are ignored.
    ///
    /// # Errors
    /// [`StateFault::Format`] when it was cut off, or is something else.
    pub fn from_postcard(from: &'a [u8]) -> Result<Self, Error> {
        postcard::from_bytes(from).map_err(|_| Error::State { fault: StateFault::Format })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: Snapshot<'_> = Snapshot { fingerprint: &[7; 32], state: &[1, 2, 3, 4, 5] };
    const FORMAT: Error = Error::State { fault: StateFault::Format };

    #[test]
    fn the_plain_form_is_fingerprint_and_bytes() {
        let mut bytes = [0; 40];
        assert_eq!(MINE.write(&mut bytes[..36]), Err(Error::Capacity));
        assert_eq!(bytes, [0; 40]);
        assert_eq!(MINE.write(&mut bytes), Ok(37));
        assert_eq!(bytes[30..], [7, 7, 1, 2, 3, 4, 5, 0, 0, 0]);
        assert_eq!(Snapshot::read(&bytes[..37]), Ok(MINE));
        assert_eq!(Snapshot::read(&bytes[..31]), Err(FORMAT));
        assert_eq!(MINE.of(&[7; 32]), Ok(MINE.state));
        assert_eq!(MINE.of(&[8; 32]), Err(Error::State { fault: StateFault::Fingerprint }));
    }

    #[cfg(feature = "postcard")]
    #[test]
    fn postcard_gives_it_back_or_says_no() {
        let mut bytes = [0; Snapshot::postcard_bytes(5)];
        let len = MINE.to_postcard(&mut bytes).map_or(0, <[u8]>::len);
        assert_eq!((len, &bytes[..3]), (40, &[1, 32, 7][..]));
        assert_eq!(Snapshot::from_postcard(&bytes), Ok(MINE));
        for cut in 0..len {
            assert_eq!(Snapshot::from_postcard(&bytes[..cut]), Err(FORMAT), "{cut} bytes");
            assert_eq!(MINE.to_postcard(&mut [0; 64][..cut]), Err(Error::Capacity));
        }
        for (at, value) in [(0, 2), (1, 31), (34, 200)] {
            let mut wrong = bytes;
            wrong[at] = value;
            assert_eq!(Snapshot::from_postcard(&wrong), Err(FORMAT), "byte {at}");
        }
    }
}
