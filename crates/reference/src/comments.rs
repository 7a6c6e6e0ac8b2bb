//! The comments of a proto file, by the path of the commented element.

use std::collections::HashMap;

use prost_types::FileDescriptorProto;

/// See the module.
pub(crate) struct Comments(HashMap<Vec<i32>, String>);

impl Comments {
    pub(crate) fn of(file: &FileDescriptorProto) -> Self {
        let locations = file.source_code_info.iter().flat_map(|info| &info.location);
        let commented = locations.map(|location| (location.path.clone(), clean(location.leading_comments())));
        Self(commented.filter(|(_, text)| !text.is_empty()).collect())
    }

    /// The comment of an element: paragraphs, each on one line.
    pub(crate) fn at(&self, path: &[usize]) -> &str {
        let path: Vec<i32> = path
            .iter()
            .map(|step| i32::try_from(*step).unwrap_or(i32::MAX))
            .collect();
        self.0.get(&path).map_or("", String::as_str)
    }
}

fn clean(comment: &str) -> String {
    let mut paragraphs = vec![String::new()];
    for line in comment.lines().map(str::trim) {
        if line.is_empty() {
            paragraphs.push(String::new());
        } else if let Some(last) = paragraphs.last_mut() {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(line);
        }
    }
    paragraphs.retain(|paragraph| !paragraph.is_empty());
    paragraphs.join("\n\n")
}
