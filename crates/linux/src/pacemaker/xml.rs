//! Reading what Pacemaker's tools print for machines.

use roxmltree::{Document, Node};

use evenkeel_platform::PlatformError;

/// Hands the root of what `program` printed to `read`, and names the program where that is not what it should be.
pub(super) fn parse<T>(
    program: &str,
    output: &[u8],
    read: impl FnOnce(Node<'_, '_>) -> Result<T, String>,
) -> Result<T, PlatformError> {
    let unreadable = |why: String| {
        PlatformError::Unavailable(format!("what {program} printed cannot be read: {why}"))
    };
    let text = std::str::from_utf8(output).map_err(|error| unreadable(error.to_string()))?;
    let document = Document::parse(text).map_err(|error| unreadable(error.to_string()))?;
    read(document.root_element()).map_err(unreadable)
}

/// An attribute that must be there.
pub(super) fn need<'a>(node: Node<'a, '_>, name: &str) -> Result<&'a str, String> {
    node.attribute(name).ok_or_else(|| {
        let tag = node.tag_name().name();
        let id = node.attribute("id").unwrap_or("without an id");
        format!("element {tag} ({id}) has no attribute {name}")
    })
}

/// An attribute that says yes or no; no, where it is left out.
pub(super) fn is_set(node: Node<'_, '_>, name: &str) -> bool {
    node.attribute(name).is_some_and(is_true)
}

/// Pacemaker's words for yes.
pub(super) fn is_true(text: &str) -> bool {
    ["true", "on", "yes", "y", "1"]
        .iter()
        .any(|yes| text.eq_ignore_ascii_case(yes))
}

/// The children with a tag.
pub(super) fn children<'a, 'i>(
    node: Node<'a, 'i>,
    tag: &'static str,
) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |child| child.has_tag_name(tag))
}

/// The only child with a tag, or the first.
pub(super) fn child<'a, 'i>(node: Node<'a, 'i>, tag: &'static str) -> Option<Node<'a, 'i>> {
    children(node, tag).next()
}

/// Text as the value of an attribute in double quotes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\t' | '\n' | '\r' => escaped.push_str(&format!("&#{};", u32::from(c))),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A score: a number, or infinity, which Pacemaker counts as a million.
pub(super) fn score(text: &str) -> Option<i64> {
    match text {
        "INFINITY" | "+INFINITY" => Some(INFINITY),
        "-INFINITY" => Some(-INFINITY),
        number => number
            .parse::<i64>()
            .ok()
            .map(|score| score.clamp(-INFINITY, INFINITY)),
    }
}

/// Pacemaker's infinite score.
pub(super) const INFINITY: i64 = 1_000_000;
