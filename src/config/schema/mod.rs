//! The table of shapes as JSON Schema, draft 2020-12: the whole design, parts of later versions included.

mod scalar;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    later,
    shape::{Entries, Field, Items, Object, OneOf, ROOT, Shape},
};

/// Each object's schema, by its name.
type Definitions = BTreeMap<&'static str, Value>;

/// The JSON Schema of a configuration.
pub fn schema() -> Value {
    let mut definitions = Definitions::new();
    define(&ROOT, &mut definitions);
    let mut root = definitions.remove(ROOT.name).expect("it was just defined");
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!("Backstop configuration");
    root["$defs"] = json!(definitions);
    root
}

fn define(object: &'static Object, definitions: &mut Definitions) {
    if definitions.contains_key(object.name) {
        return;
    }
    // Kept first, so that an object that holds itself ends here.
    definitions.insert(object.name, Value::Null);
    let mut properties = Map::new();
    for field in object.fields {
        properties.insert(field.name.to_owned(), property(object, field, definitions));
    }
    let mut schema = json!({
        "type": "object",
        "description": object.about,
        "properties": properties,
        "additionalProperties": false,
    });
    let required: Vec<&str> = object.fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    let one = |keys: &[&str]| -> Vec<Value> { keys.iter().map(|key| json!({"required": [key]})).collect() };
    match object.one_of {
        OneOf::Nothing => {}
        OneOf::Exactly(keys) => schema["oneOf"] = json!(one(keys)),
        OneOf::AtMost(keys) => {
            let mut alternatives = one(keys);
            alternatives.push(json!({"not": {"anyOf": one(keys)}}));
            schema["oneOf"] = json!(alternatives);
        }
    }
    definitions.insert(object.name, schema);
}

fn property(object: &Object, field: &'static Field, definitions: &mut Definitions) -> Value {
    let mut schema = of(field.shape, definitions);
    let what_comes = later::find(object.name, field.name);
    let about = match what_comes {
        Some(row) if row.values.is_empty() && field.default.is_none() => {
            format!("{} Comes with a later version.", field.about)
        }
        Some(_) => format!("{} Other values than the default come with a later version.", field.about),
        None => field.about.to_owned(),
    };
    schema["description"] = json!(about);
    if let Some(default) = field.default {
        schema["default"] = default_value(field.shape, default);
    }
    schema
}

/// A default as JSON: what it is written as in the table, an object with the defaults of its own keys.
fn default_value(shape: Shape, default: &str) -> Value {
    match shape {
        Shape::Object(object) => {
            let own =
                object.fields.iter().filter_map(|field| Some((field.name, default_value(field.shape, field.default?))));
            Value::Object(own.map(|(name, value)| (name.to_owned(), value)).collect())
        }
        _ => match serde_json::from_str(default) {
            Ok(value) => value,
            Err(_) if default.starts_with('[') => {
                let words = default.trim_matches(['[', ']']).split(',').map(str::trim);
                json!(words.collect::<Vec<_>>())
            }
            Err(_) => json!(default),
        },
    }
}

fn of(shape: Shape, definitions: &mut Definitions) -> Value {
    match shape {
        Shape::Scalar(scalar) => scalar::of(scalar),
        Shape::Object(object) => {
            define(object, definitions);
            json!({"$ref": format!("#/$defs/{}", object.name)})
        }
        Shape::Map(Entries { key, value, at_least, at_most }) => {
            let value = of(*value, definitions);
            json!({
                "type": "object",
                "propertyNames": scalar::of(*key),
                "additionalProperties": value,
                "minProperties": at_least,
                "maxProperties": at_most,
            })
        }
        Shape::List(Items { item, at_least, at_most, .. }) => {
            let item = of(*item, definitions);
            json!({"type": "array", "items": item, "minItems": at_least, "maxItems": at_most})
        }
        Shape::Either(shapes) => {
            let alternatives: Vec<Value> = shapes.iter().map(|shape| of(*shape, definitions)).collect();
            json!({"oneOf": alternatives})
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::{node::Node, shape, sink::Sink, source::Source};

    /// Walks both: the schema's keys, and what the decoder itself says of each.
    #[test]
    fn the_schema_knows_what_the_decoder_knows() {
        let schema = schema();
        for object in shape::objects() {
            let known = if object.name == ROOT.name { &schema } else { &schema["$defs"][object.name] };
            let keys: BTreeSet<&str> =
                known["properties"].as_object().expect("an object").keys().map(String::as_str).collect();
            let ours: BTreeSet<&str> = object.fields.iter().map(|field| field.name).collect();
            assert_eq!(keys, ours, "{}", object.name);
        }
        let definitions = schema["$defs"].as_object().expect("an object").len();
        assert_eq!(definitions + 1, shape::objects().len());
    }

    /// The root's keys from the schema alone are all taken by the decoder, and one more is not.
    #[test]
    fn the_decoder_takes_the_schemas_keys() {
        let schema = schema();
        let keys = schema["properties"].as_object().expect("an object").keys();
        let lines: Vec<String> = keys.map(|key| format!("{key}: ~")).chain(["another_key: ~".to_owned()]).collect();
        let text = lines.join("\n");
        let mut root: Node = serde_saphyr::from_str(&text).expect("YAML");
        let mut sink = Sink::new(Source::new("x", text), None);
        crate::config::decode::decode(&mut root, None, &mut sink);
        let unknown: Vec<String> = sink
            .finish()
            .list
            .into_iter()
            .map(|found| found.message)
            .filter(|message| message.contains("unknown key"))
            .collect();
        assert_eq!(unknown, ["the configuration: unknown key `another_key`"]);
    }

    #[test]
    fn defaults_are_written_out() {
        let schema = schema();
        let thresholds = &schema["$defs"]["service"]["properties"]["thresholds"]["default"];
        assert_eq!(thresholds["consider_above"], json!({"error_rate": "1%", "over": "1m", "for": "5m"}));
        assert_eq!(thresholds["down_after"], json!(3));
        let held_back = &schema["$defs"]["service"]["properties"]["hold_back_when"]["default"];
        assert_eq!(held_back.as_array().map(Vec::len), Some(4));
    }
}
