//! One call, as it is documented.

use axum::http::Method;
use evenkeel_api::errors::{CALLS, When};
use serde_json::{Map, Value, json};

use crate::permit;

/// The two forms of JSON, by `Accept`.
const FORMS: [&str; 2] = ["application/hal+json", "application/json"];

/// What any call may be answered with: a request that is not right, who is not let in or may not, a failure in
/// here, and what is away for the moment.
const ERRORS_OF_ANY: [u16; 5] = [400, 401, 403, 500, 503];

/// A call of the API.
pub(crate) struct Operation {
    pub(super) method: Method,
    pub(super) path: String,
    tag: &'static str,
    summary: String,
    description: String,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: Vec<(u16, Value)>,
    links: Map<String, Value>,
    errors: Vec<u16>,
}

impl Operation {
    pub(super) fn new(method: Method, path: &str, summary: &str) -> Self {
        let tag = match path {
            path if path.starts_with("/api/cluster/software") => "software",
            path if path.starts_with("/api/") => "cluster",
            _ => "evenkeel",
        };
        Self {
            method,
            path: path.to_owned(),
            tag,
            summary: summary.to_owned(),
            description: String::new(),
            parameters: keys(path).map(key_parameter).collect(),
            body: None,
            answers: Vec::new(),
            links: Map::new(),
            errors: ERRORS_OF_ANY.to_vec(),
        }
    }

    /// Says more than the summary.
    pub(super) fn about(mut self, description: &str) -> Self {
        description.clone_into(&mut self.description);
        self
    }

    pub(super) fn query(mut self, parameters: impl IntoIterator<Item = Value>) -> Self {
        self.parameters.extend(parameters);
        self
    }

    /// Takes a JSON object.
    pub(super) fn body(mut self, schema: Value) -> Self {
        let content = json!({"application/json": {"schema": schema}});
        self.body = Some(json!({"required": true, "content": content}));
        self.errors.push(413);
        self
    }

    /// Takes a JSON object, or nothing.
    pub(super) fn optional_body(mut self, schema: Value) -> Self {
        self = self.body(schema);
        if let Some(body) = &mut self.body {
            body["required"] = json!(false);
        }
        self
    }

    /// Takes a file.
    pub(super) fn file(mut self, content_type: &str, schema: Value) -> Self {
        let content = json!({content_type: {"schema": schema}});
        self.body = Some(json!({"required": true, "content": content}));
        self
    }

    /// Answers JSON.
    pub(super) fn answer(mut self, status: u16, description: &str, schema: &Value) -> Self {
        let content: Map<String, Value> = FORMS
            .iter()
            .map(|form| ((*form).to_owned(), json!({"schema": schema})))
            .collect();
        let answer = json!({"description": description, "content": content});
        self.answers.push((status, answer));
        self
    }

    /// Answers JSON lines.
    pub(super) fn lines(mut self, description: &str, schema: &Value) -> Self {
        let content = json!({"application/jsonl": {"schema": schema}});
        self.answers
            .push((200, json!({"description": description, "content": content})));
        self
    }

    /// Begins a job: 202 and its link at once, or `done` where the client waits and it ends in time.
    pub(super) fn job(self, done: u16, link: &Value) -> Self {
        self.answer(202, "The job has begun.", link)
            .answer(done, "The job ended while the call waited for it.", link)
            .link("job", Method::GET, "/api/cluster/jobs/{uuid}", "/job/uuid")
    }

    /// Says that `value`, a JSON pointer into the answer, is the key of another call's address.
    pub(super) fn link(mut self, name: &str, method: Method, path: &str, value: &str) -> Self {
        self.add_link(name, &method, path, value);
        self
    }

    pub(super) fn add_link(&mut self, name: &str, method: &Method, path: &str, value: &str) {
        let parameters: Map<String, Value> = keys(path)
            .map(|key| (key.to_owned(), json!(format!("$response.body#{value}"))))
            .collect();
        let to = operation_id(method, path);
        let link = json!({"operationId": to, "parameters": parameters});
        // What a call says of itself counts more than what is said of lists in general.
        self.links.entry(name).or_insert(link);
    }

    /// Of a call for one of many: the address of all of them, the key, and the call.
    pub(super) fn of_member(&self) -> Option<(String, String, Method, String)> {
        let (list, key) = self.path.rsplit_once('/')?;
        let key = keys(key).next()?;
        Some((
            list.to_owned(),
            key.to_owned(),
            self.method.clone(),
            self.path.clone(),
        ))
    }

    pub(super) fn errors(mut self, statuses: &[u16]) -> Self {
        self.errors.extend(statuses);
        self
    }

    /// The operation object.
    pub(super) fn document(&self) -> Value {
        let role = permit::needed(&self.method, &self.path);
        let mut description = self.description.clone();
        if !description.is_empty() {
            description.push_str("\n\n");
        }
        description.push_str(&format!("Needs the role `{role}`."));
        let mut document = json!({
            "operationId": operation_id(&self.method, &self.path),
            "tags": [self.tag],
            "summary": self.summary,
            "description": description,
            "responses": self.responses(),
            "security": [{"basic": [role.as_str()]}, {"certificate": [role.as_str()]}],
        });
        if !self.parameters.is_empty() {
            document["parameters"] = json!(self.parameters);
        }
        if let Some(body) = &self.body {
            document["requestBody"] = body.clone();
        }
        document
    }

    fn responses(&self) -> Map<String, Value> {
        let linked = |answer: &Value| {
            let mut answer = answer.clone();
            if !self.links.is_empty() {
                answer["links"] = json!(self.links);
            }
            answer
        };
        let answers = self.answers.iter();
        let answers = answers.map(|(status, answer)| (status.to_string(), linked(answer)));
        let error = |status: u16| {
            let link = json!({"$ref": format!("#/components/responses/{status}")});
            (status.to_string(), link)
        };
        let errors = self.errors.iter().copied().chain(self.errors_of_its_own());
        answers.chain(errors.map(error)).collect()
    }

    /// What the table of codes says of this call.
    fn errors_of_its_own(&self) -> impl Iterator<Item = u16> {
        let path = self.path.strip_prefix("/api").unwrap_or(&self.path);
        let name = format!("{} {path}", self.method);
        let calls = CALLS.iter().filter(move |call| call.name == name);
        let cases = calls.flat_map(|call| call.errors);
        cases.filter_map(|case| match case.when {
            When::AtOnce { status, .. } | When::InJob { status, .. } => Some(status),
            When::Shown { .. } | When::Never { .. } => None,
        })
    }
}

/// The names in braces.
fn keys(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn key_parameter(name: &str) -> Value {
    json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}})
}

/// Method and path as one word: `get_cluster_software_packages_version`.
fn operation_id(method: &Method, path: &str) -> String {
    let words = path
        .split(['/', '{', '}'])
        .filter(|word| !["", "api", "v1"].contains(word));
    let words: Vec<_> = words.collect();
    format!("{}_{}", method.as_str().to_lowercase(), words.join("_"))
}
