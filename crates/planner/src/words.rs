//! Lists of nodes as people read them, and others' texts: bounded, however many and however long they are.

use evenkeel_model::NodeName;

/// `node "a"`, or `nodes "a", "b" and 3 more`.
pub(crate) fn nodes<'a>(
    nodes: impl IntoIterator<Item = &'a NodeName, IntoIter: ExactSizeIterator>,
    most: usize,
) -> String {
    let nodes = nodes.into_iter();
    match nodes.len() {
        1 => format!("node {}", quoted(nodes, most)),
        _ => format!("nodes {}", quoted(nodes, most)),
    }
}

/// `"a"`, or `"a", "b" and 3 more`.
pub(crate) fn quoted<'a>(
    nodes: impl IntoIterator<Item = &'a NodeName, IntoIter: ExactSizeIterator>,
    most: usize,
) -> String {
    let nodes = nodes.into_iter();
    let more = nodes.len().saturating_sub(most);
    let shown: Vec<String> = nodes.take(most).map(|node| format!("\"{node}\"")).collect();
    let shown = shown.join(", ");
    match more {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The beginning of a text of someone else's making: `max` bytes of it, whole characters.
pub(crate) fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(max);
    format!("{}…", &text[..end])
}
