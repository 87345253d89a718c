//! From text to placed values.

use super::{Json, MAX_JSON_VALUES, Place, Value};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// Reads the text that stands at a place.
pub(super) fn parse(place: Arc<Place>, text: &[u8]) -> serde_json::Result<Json> {
    let left = Cell::new(MAX_JSON_VALUES);
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let json = Seed { place, left: &left }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(json)
}

struct Seed<'c> {
    place: Arc<Place>,
    /// How many values may still come.
    left: &'c Cell<usize>,
}

impl Seed<'_> {
    fn at(&self, place: Place) -> Self {
        Seed { place: Arc::new(place), left: self.left }
    }

    fn json(self, value: Value) -> Json {
        Json { place: self.place, value }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        let left = self.left.get().checked_sub(1);
        let left = left.ok_or_else(|| D::Error::custom(format_args!("more than {MAX_JSON_VALUES} values")))?;
        self.left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(self.json(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(self.json(Value::Bool(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(self.json(Value::Number(value.into())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(self.json(Value::Number(value.into())))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number that is not finite"))?;
        Ok(self.json(Value::Number(number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(self.json(Value::String(value.to_string())))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(self.json(Value::String(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self.at(Place::Index(Arc::clone(&self.place), items.len())))? {
            items.push(item);
        }
        Ok(self.json(Value::Array(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let place = Place::Key(Arc::clone(&self.place), key.into());
            entries.push(map.next_value_seed(self.at(place))?);
        }
        entries.sort_by(|a, b| a.key().cmp(b.key()));
        if let Some(twice) = entries.windows(2).find(|pair| pair[0].key() == pair[1].key()) {
            return Err(A::Error::custom(format_args!("`{}` is there twice", twice[0].place)));
        }
        Ok(self.json(Value::Object(entries)))
    }
}
