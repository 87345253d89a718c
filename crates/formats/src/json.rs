//! Configurations: JSON values that know their place, so that every error can name file and key.

mod parse;

use crate::{Error, ErrorKind};
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use serde_json::Number;

/// Longest JSON file that is read, in bytes.
pub const MAX_JSON_LEN: u64 = 62 << 20;

/// Most values that one JSON text may have, those inside of others included; the largest vocabularies have an eighth.
pub const MAX_JSON_VALUES: usize = 2 << 20;

/// A JSON value, with the file it is from and the keys that lead to it.
///
/// The typed getters come in three kinds: `required_…` fails when the key is missing, `optional_…` gives `None` then and
/// `…_or` a default. All three fail on a value of another type, and on a number that the type cannot hold. `null` counts
/// as missing, as Hugging Face configurations mean it.
///
/// ```
/// use kernform_formats::Json;
///
/// let config = Json::parse("config.json", br#"{"d_model": 512, "rope": {"theta": "high"}}"#)?;
/// assert_eq!(config.required_usize("d_model")?, 512);
/// assert_eq!(config.f32_or("layer_norm_eps", 1e-5)?, 1e-5);
/// let error = config.required("rope")?.required_f32("theta").unwrap_err();
/// assert_eq!(error.to_string(), "config.json: `rope.theta` must be a number and is a string");
/// # Ok::<(), kernform_formats::Error>(())
/// ```
#[derive(Clone)]
pub struct Json {
    place: Arc<Place>,
    value: Value,
}

/// Where a value stands. A link to the value around it, since whole paths at every value could be arbitrarily long.
enum Place {
    /// The whole text of a file.
    Root(Box<str>),
    Key(Arc<Place>, Box<str>),
    Index(Arc<Place>, usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(_) => f.write_str("the whole text"),
            Self::Key(parent, key) if matches!(**parent, Self::Root(_)) => f.write_str(key),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Index(parent, index) if matches!(**parent, Self::Root(_)) => write!(f, "[{index}]"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

#[derive(Clone)]
enum Value {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Json>),
    /// Sorted by key.
    Object(Vec<Json>),
}

impl Json {
    /// Reads a whole JSON text; `file` is what errors call it.
    ///
    /// # Errors
    /// When the text is longer than [`MAX_JSON_LEN`], has more than [`MAX_JSON_VALUES`], is no JSON, is nested deeper than
    /// 127 levels, or has a key twice in one object.
    pub fn parse(file: &str, text: &[u8]) -> Result<Self, Error> {
        let len = text.len() as u64;
        if len > MAX_JSON_LEN {
            let kind = ErrorKind::TooLarge { what: "the JSON text", len, limit: MAX_JSON_LEN };
            return Err(Error::from(kind).in_file(file));
        }
        parse::parse(Arc::new(Place::Root(file.into())), text)
            .map_err(|error| Error::from(ErrorKind::Json { message: error.to_string() }).in_file(file))
    }

    /// What errors call the file.
    #[must_use]
    pub fn file(&self) -> &str {
        let mut place = &self.place;
        loop {
            place = match &**place {
                Place::Root(file) => return file,
                Place::Key(parent, _) | Place::Index(parent, _) => parent,
            };
        }
    }

    /// The key that the value stands under in an object.
    fn key(&self) -> &str {
        match &*self.place {
            Place::Key(_, key) => key,
            _ => "",
        }
    }

    /// The value under `key`, `null` included; `None` when this is no object or has no such key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Object(entries) => {
                let place = entries.binary_search_by(|entry| entry.key().cmp(key)).ok()?;
                entries.get(place)
            }
            _ => None,
        }
    }

    /// Whether the value is `null`.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The value under `key`, or `None` when it is missing or `null`.
    ///
    /// # Errors
    /// When this is no object.
    pub fn optional(&self, key: &str) -> Result<Option<&Self>, Error> {
        match &self.value {
            Value::Object(_) => Ok(self.get(key).filter(|value| !value.is_null())),
            _ => Err(self.wrong_type("an object")),
        }
    }

    /// The value under `key`.
    ///
    /// # Errors
    /// When this is no object, or the key is missing or `null`.
    pub fn required(&self, key: &str) -> Result<&Self, Error> {
        self.optional(key)?.ok_or_else(|| self.error(ErrorKind::MissingKey { key: self.path_of(key) }))
    }

    /// The keys and values of an object, sorted by key.
    ///
    /// # Errors
    /// When this is no object.
    pub fn entries(&self) -> Result<impl Iterator<Item = (&str, &Self)>, Error> {
        match &self.value {
            Value::Object(entries) => Ok(entries.iter().map(|entry| (entry.key(), entry))),
            _ => Err(self.wrong_type("an object")),
        }
    }

    /// The values of an array.
    ///
    /// # Errors
    /// When this is no array.
    pub fn items(&self) -> Result<&[Self], Error> {
        match &self.value {
            Value::Array(items) => Ok(items),
            _ => Err(self.wrong_type("an array")),
        }
    }

    /// The values of an array, or the value itself where it is none; Hugging Face writes lists of one both ways.
    #[must_use]
    pub fn one_or_more(&self) -> &[Self] {
        match &self.value {
            Value::Array(items) => items,
            _ => core::slice::from_ref(self),
        }
    }

    /// A number that is not negative and fits `usize`.
    ///
    /// # Errors
    /// On any other value.
    pub fn as_usize(&self) -> Result<usize, Error> {
        self.integer("an integer from 0 to the largest usize", |number| number.as_u64()?.try_into().ok())
    }

    /// A number that fits `u32`; token ids are such.
    ///
    /// # Errors
    /// On any other value.
    pub fn as_u32(&self) -> Result<u32, Error> {
        self.integer("an integer from 0 to 4294967295", |number| number.as_u64()?.try_into().ok())
    }

    /// A number that fits `i64`.
    ///
    /// # Errors
    /// On any other value.
    pub fn as_i64(&self) -> Result<i64, Error> {
        self.integer("a 64-bit integer", Number::as_i64)
    }

    fn integer<T>(&self, expected: &'static str, convert: impl FnOnce(&Number) -> Option<T>) -> Result<T, Error> {
        let Value::Number(number) = &self.value else { return Err(self.wrong_type("an integer")) };
        convert(number).ok_or_else(|| self.out_of_range(number, expected))
    }

    /// A number, rounded to the nearest f64.
    ///
    /// # Errors
    /// When this is no number.
    pub fn as_f64(&self) -> Result<f64, Error> {
        let Value::Number(number) = &self.value else { return Err(self.wrong_type("a number")) };
        number.as_f64().ok_or_else(|| self.out_of_range(number, "within the range of f64"))
    }

    /// A number, rounded to the nearest f32.
    ///
    /// # Errors
    /// When this is no number, or one that is too large for a finite f32.
    pub fn as_f32(&self) -> Result<f32, Error> {
        let Value::Number(number) = &self.value else { return Err(self.wrong_type("a number")) };
        let value = self.as_f64()? as f32;
        if value.is_finite() { Ok(value) } else { Err(self.out_of_range(number, "within the range of f32")) }
    }

    /// A truth value.
    ///
    /// # Errors
    /// On any other value.
    pub fn as_bool(&self) -> Result<bool, Error> {
        match self.value {
            Value::Bool(value) => Ok(value),
            _ => Err(self.wrong_type("true or false")),
        }
    }

    /// A string.
    ///
    /// # Errors
    /// On any other value.
    pub fn as_str(&self) -> Result<&str, Error> {
        match &self.value {
            Value::String(value) => Ok(value),
            _ => Err(self.wrong_type("a string")),
        }
    }

    const fn type_name(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a truth value",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        }
    }

    fn wrong_type(&self, expected: &'static str) -> Error {
        self.error(ErrorKind::WrongType { key: self.place.to_string(), expected, found: self.type_name() })
    }

    fn out_of_range(&self, number: &Number, expected: &'static str) -> Error {
        self.error(ErrorKind::NumberOutOfRange { key: self.place.to_string(), value: number.to_string(), expected })
    }

    fn path_of(&self, key: &str) -> String {
        Place::Key(Arc::clone(&self.place), key.into()).to_string()
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error::from(kind).in_file(self.file())
    }
}

macro_rules! getters {
    ($($required:ident, $optional:ident, $or:ident, $as:ident, $type:ty, $what:literal);+ $(;)?) => {
        /// Typed values by key.
        impl Json {$(
            #[doc = concat!("The ", $what, " under `key`; fails when it is missing.")]
            ///
            /// # Errors
            #[doc = concat!("When it is missing, `null`, or refused by [`", stringify!($as), "`](Self::", stringify!($as), ").")]
            pub fn $required(&self, key: &str) -> Result<$type, Error> {
                self.required(key)?.$as()
            }

            #[doc = concat!("The ", $what, " under `key`, or `None` when it is missing or `null`.")]
            ///
            /// # Errors
            #[doc = concat!("When [`", stringify!($as), "`](Self::", stringify!($as), ") refuses it.")]
            pub fn $optional(&self, key: &str) -> Result<Option<$type>, Error> {
                self.optional(key)?.map(Self::$as).transpose()
            }

            #[doc = concat!("The ", $what, " under `key`, or `default` when it is missing or `null`.")]
            ///
            /// # Errors
            #[doc = concat!("When [`", stringify!($as), "`](Self::", stringify!($as), ") refuses it.")]
            pub fn $or(&self, key: &str, default: $type) -> Result<$type, Error> {
                Ok(self.$optional(key)?.unwrap_or(default))
            }
        )+}
    };
}

getters! {
    required_usize, optional_usize, usize_or, as_usize, usize, "size";
    required_u32, optional_u32, u32_or, as_u32, u32, "32-bit number";
    required_i64, optional_i64, i64_or, as_i64, i64, "64-bit integer";
    required_f64, optional_f64, f64_or, as_f64, f64, "number";
    required_f32, optional_f32, f32_or, as_f32, f32, "number";
    required_bool, optional_bool, bool_or, as_bool, bool, "truth value";
}

/// Strings by key.
impl Json {
    /// The string under `key`; fails when it is missing.
    ///
    /// # Errors
    /// When it is missing, `null` or no string.
    pub fn required_str(&self, key: &str) -> Result<&str, Error> {
        self.required(key)?.as_str()
    }

    /// The string under `key`, or `None` when it is missing or `null`.
    ///
    /// # Errors
    /// When it is no string.
    pub fn optional_str(&self, key: &str) -> Result<Option<&str>, Error> {
        self.optional(key)?.map(Self::as_str).transpose()
    }

    /// The string under `key`, or `default` when it is missing or `null`.
    ///
    /// # Errors
    /// When it is no string.
    pub fn str_or<'s>(&'s self, key: &str, default: &'s str) -> Result<&'s str, Error> {
        Ok(self.optional_str(key)?.unwrap_or(default))
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => fmt::Debug::fmt(value, f),
            Value::Number(value) => fmt::Display::fmt(value, f),
            Value::String(value) => fmt::Debug::fmt(value, f),
            Value::Array(items) => f.debug_list().entries(items).finish(),
            Value::Object(entries) => f.debug_map().entries(entries.iter().map(|entry| (entry.key(), entry))).finish(),
        }
    }
}
