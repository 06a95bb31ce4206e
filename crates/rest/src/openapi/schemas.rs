//! Schemas of the wire types.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

/// Makes schemas, and keeps those that are named.
pub(crate) struct Schemas {
    answers: SchemaGenerator,
    bodies: SchemaGenerator,
    selected: SchemaGenerator,
    resources: Map<String, Value>,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = || {
            let mut settings = SchemaSettings::draft2020_12();
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
            settings.with_transform(Numbers)
        };
        let selected = settings().for_serialize().with_transform(Unset);
        Self {
            answers: settings()
                .for_serialize()
                .with_transform(Unset)
                .into_generator(),
            bodies: settings().for_deserialize().into_generator(),
            // In place, since the same type is whole elsewhere.
            selected: selected
                .with(|settings| settings.inline_subschemas = true)
                .with_transform(Selected)
                .into_generator(),
            resources: Map::new(),
        }
    }

    /// An answer.
    pub(super) fn answer<T: JsonSchema>(&mut self) -> Value {
        self.answers.subschema_for::<T>().into()
    }

    /// A body.
    pub(super) fn body<T: JsonSchema>(&mut self) -> Value {
        self.bodies.subschema_for::<T>().into()
    }

    /// An answer from which clients choose fields: any may be missing, and a link to itself comes along. Also what
    /// the type says of itself.
    pub(super) fn selected<T: JsonSchema>(&mut self) -> (Value, String) {
        let links = self.answer::<evenkeel_api::Links>();
        let mut schema = self.selected.root_schema_for::<T>();
        schema.remove("title");
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.entry("_links").or_insert(links);
        }
        let about = schema.get("description").and_then(Value::as_str);
        let about = about.unwrap_or_default().to_owned();
        let name = T::schema_name().into_owned();
        let link = json!({"$ref": format!("#/components/schemas/{name}")});
        self.resources.insert(name, schema.into());
        (link, about)
    }

    /// Everything that is named, in order.
    pub(super) fn named(mut self) -> Map<String, Value> {
        let mut named = self.answers.take_definitions(true);
        let bodies = self.bodies.take_definitions(true);
        for (name, schema) in bodies.into_iter().chain(self.resources) {
            let earlier = named.insert(name.clone(), schema.clone());
            assert!(
                earlier.is_none_or(|earlier| earlier == schema),
                "{name} is another one here than there"
            );
        }
        named
    }
}

/// Numbers as JSON has them: the names of Rust's are nobody else's.
#[derive(Clone, Debug)]
struct Numbers;

impl Transform for Numbers {
    fn transform(&mut self, schema: &mut Schema) {
        let format = schema.get("format").and_then(Value::as_str);
        let greatest = match format {
            Some("uint8") => Some(u32::from(u8::MAX)),
            Some("uint16") => Some(u32::from(u16::MAX)),
            Some("uint32") => Some(u32::MAX),
            _ => None,
        };
        if format.is_some_and(|format| format.starts_with("uint")) {
            schema.remove("format");
        }
        if let (Some(greatest), None) = (greatest, schema.get("maximum")) {
            schema.insert("maximum".to_owned(), json!(greatest));
        }
        transform_subschemas(self, schema);
    }
}

/// What is unset is left out of answers, and is never `null`.
#[derive(Clone, Debug)]
struct Unset;

impl Transform for Unset {
    fn transform(&mut self, schema: &mut Schema) {
        let required = schema.get("required").cloned().unwrap_or_default();
        let is_required = |name: &str| {
            let names = required.as_array();
            names.is_some_and(|names| names.iter().any(|required| required == name))
        };
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            for (_, property) in properties.iter_mut().filter(|(name, _)| !is_required(name)) {
                strip_null(property);
            }
        }
        transform_subschemas(self, schema);
    }
}

fn strip_null(property: &mut Value) {
    if let Some(Value::Array(types)) = property.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            property["type"] = only.clone();
        }
    }
    let is_null = |schema: &Value| schema.get("type").is_some_and(|name| name == "null");
    let Some(Value::Array(choices)) = property.get_mut("anyOf") else {
        return;
    };
    choices.retain(|choice| !is_null(choice));
    if let [Value::Object(only)] = choices.as_slice() {
        let only = only.clone();
        if let Some(property) = property.as_object_mut() {
            property.remove("anyOf");
            // What is said of the field counts more than what is said of its type.
            for (name, value) in only {
                property.entry(name).or_insert(value);
            }
        }
    }
}

/// Nothing has to be there.
#[derive(Clone, Debug)]
struct Selected;

impl Transform for Selected {
    fn transform(&mut self, schema: &mut Schema) {
        schema.remove("required");
        transform_subschemas(self, schema);
    }
}
