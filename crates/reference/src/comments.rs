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

/// Joins the lines of each paragraph. An item of a list stays on its own line.
fn clean(comment: &str) -> String {
    let mut paragraphs: Vec<String> = Vec::new();
    let mut joins = false;
    for line in comment.lines().map(str::trim) {
        let is_item = line.starts_with("- ");
        match paragraphs.last_mut() {
            Some(last) if joins && !line.is_empty() => {
                last.push(if is_item { '\n' } else { ' ' });
                last.push_str(line);
            }
            _ if !line.is_empty() => paragraphs.push(line.to_owned()),
            _ => {}
        }
        joins = !line.is_empty();
    }
    paragraphs.join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_have_one_line_and_items_of_a_list_one_each() {
        let comment = " One,\n two.\n\n Errors:\n\n - A: b;\n - C:\n   d.\n\n End.\n";
        assert_eq!(clean(comment), "One, two.\n\nErrors:\n\n- A: b;\n- C: d.\n\nEnd.");
        assert_eq!(clean("\n\n"), "");
    }
}
