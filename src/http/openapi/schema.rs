//! Schemas of JSON for the OpenAPI document (JSON Schema 2020-12).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A schema, and the named ones that it refers to.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    fields: Map<String, Value>,
    named: BTreeMap<&'static str, Value>,
    is_optional: bool,
}

/// Anything.
pub fn any() -> Schema {
    Schema::default()
}

pub fn text() -> Schema {
    any().with("type", "string")
}

pub fn boolean() -> Schema {
    any().with("type", "boolean")
}

pub fn number() -> Schema {
    any().with("type", "number")
}

pub fn integer() -> Schema {
    any().with("type", "integer")
}

/// An integer that is not negative.
pub fn count() -> Schema {
    integer().at_least(0)
}

pub fn base64() -> Schema {
    text().with("contentEncoding", "base64")
}

/// One of these words.
pub fn word(words: &[&str]) -> Schema {
    any().with("enum", words)
}

/// Only this word.
pub fn constant(word: &str) -> Schema {
    any().with("const", word)
}

pub fn array(items: Schema) -> Schema {
    let schema = Schema { named: items.named, ..any() };
    schema.with("type", "array").with("items", items.fields)
}

/// An object with exactly these members.
pub fn object<const N: usize>(members: [(&'static str, Schema); N]) -> Schema {
    let mut schema = any().with("type", "object").with("additionalProperties", false);
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, member) in members {
        if !member.is_optional {
            required.push(name);
        }
        schema.named.extend(member.named);
        properties.insert(name.to_owned(), member.fields.into());
    }
    schema.with("properties", properties).with("required", required)
}

/// An object with any members, whose values all have the same schema.
pub fn map(values: Schema) -> Schema {
    any().with("type", "object").with_others(values)
}

/// A value that one of these schemas describes.
pub fn one_of<const N: usize>(schemas: [Schema; N]) -> Schema {
    let mut choice = any();
    let mut fields = Vec::new();
    for schema in schemas {
        choice.named.extend(schema.named);
        fields.push(Value::Object(schema.fields));
    }
    choice.with("oneOf", fields)
}

impl Schema {
    /// A keyword of JSON Schema, and its value.
    pub fn with(mut self, keyword: &str, says: impl serde::Serialize) -> Schema {
        self.fields.insert(keyword.to_owned(), json!(says));
        self
    }

    pub fn about(self, description: &str) -> Schema {
        self.with("description", description)
    }

    pub fn at_least(self, minimum: u64) -> Schema {
        self.with("minimum", minimum)
    }

    pub fn at_most(self, maximum: u64) -> Schema {
        self.with("maximum", maximum)
    }

    /// The minimum and maximum length of a text.
    pub fn of_length(self, least: u64, most: u64) -> Schema {
        self.with("minLength", least).with("maxLength", most)
    }

    /// The minimum and maximum number of items of an array.
    pub fn of_size(self, least: u64, most: u64) -> Schema {
        self.with("minItems", least).with("maxItems", most)
    }

    /// The JSON types of the value, instead of a single type.
    pub fn of_types(self, types: &[&str]) -> Schema {
        self.with("type", types)
    }

    pub fn or_null(self) -> Schema {
        let kind = self.fields["type"].clone();
        self.with("type", json!([kind, "null"]))
    }

    /// A member that an object may lack.
    pub fn optional(self) -> Schema {
        Schema { is_optional: true, ..self }
    }

    /// An object that may have other members, too.
    pub fn open(mut self) -> Schema {
        self.fields.remove("additionalProperties");
        self
    }

    /// An object that may have other members, too, whose values have this schema.
    pub fn with_others(mut self, values: Schema) -> Schema {
        self.named.extend(values.named);
        self.with("additionalProperties", values.fields)
    }

    /// The schema gets a place of its own in the document, and others refer to it.
    pub fn named(self, name: &'static str) -> Schema {
        let Schema { fields, mut named, .. } = self;
        named.insert(name, fields.into());
        Schema { named, ..any() }.with("$ref", format!("#/components/schemas/{name}"))
    }

    /// The schema as JSON for the document. The named schemas that it refers to are added to `named`.
    pub fn into_document(self, named: &mut BTreeMap<&'static str, Value>) -> Value {
        named.extend(self.named);
        self.fields.into()
    }
}
