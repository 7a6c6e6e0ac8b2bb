//! Stylesheet, scripts and icon, embedded in the binary. Their URLs contain a hash of their contents: browsers may cache
//! them without a limit, and a new binary has new URLs. All share one hash, so that a script finds the scripts that it
//! imports next to it.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    },
    response::{IntoResponse as _, Response},
};
use sha2::{Digest as _, Sha256};

/// Names and contents.
const ASSETS: &[(&str, &str)] = &[
    ("console.css", include_str!("../../assets/console.css")),
    ("console.js", include_str!("../../assets/console.js")),
    ("following.js", include_str!("../../assets/following.js")),
    ("forms.js", include_str!("../../assets/forms.js")),
    ("icon.svg", include_str!("../../assets/icon.svg")),
    ("live.js", include_str!("../../assets/live.js")),
    ("patch.js", include_str!("../../assets/patch.js")),
    ("refresh.js", include_str!("../../assets/refresh.js")),
    ("times.js", include_str!("../../assets/times.js")),
];

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for (name, text) in ASSETS {
        hash.update(name);
        hash.update(text);
    }
    hex::encode(&hash.finalize()[..8])
});

fn address(name: &str) -> String {
    format!("/console/assets/{}/{name}", *VERSION)
}

/// The address of the stylesheet.
pub(super) fn style() -> String {
    address("console.css")
}

/// The address of the script.
pub(super) fn script() -> String {
    address("console.js")
}

/// The address of the icon.
pub(super) fn icon() -> String {
    address("icon.svg")
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        _ => "image/svg+xml",
    }
}

/// Serves a file.
pub(super) async fn asset(Path((version, name)): Path<(String, String)>) -> Response {
    let known = ASSETS.iter().find(|(known, _)| *known == name && version == *VERSION);
    match known {
        Some((name, text)) => {
            let headers = [
                (CONTENT_TYPE, kind(name)),
                (CACHE_CONTROL, "public, max-age=31536000, immutable"),
                (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ];
            (headers, *text).into_response()
        }
        None => (StatusCode::NOT_FOUND, "no such file\n").into_response(),
    }
}
