//! Stylesheet, script and icon, part of the binary. Their addresses hold a hash of what they are: browsers may keep them for
//! ever, and a new binary's are new ones.

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

/// One file.
struct Asset {
    name: String,
    kind: &'static str,
    text: &'static str,
}

impl Asset {
    fn new(stem: &str, ending: &str, kind: &'static str, text: &'static str) -> Self {
        let hash = hex::encode(&Sha256::digest(text.as_bytes())[..8]);
        Self {
            name: format!("{stem}-{hash}.{ending}"),
            kind,
            text,
        }
    }
}

static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_str!("../../assets/console.css");
    Asset::new("console", "css", "text/css; charset=utf-8", text)
});
static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_str!("../../assets/console.js");
    Asset::new("console", "js", "text/javascript; charset=utf-8", text)
});
static ICON: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_str!("../../assets/icon.svg");
    Asset::new("icon", "svg", "image/svg+xml", text)
});

/// The address of the stylesheet.
pub(super) fn style() -> String {
    format!("/console/assets/{}", STYLE.name)
}

/// The address of the script.
pub(super) fn script() -> String {
    format!("/console/assets/{}", SCRIPT.name)
}

/// The address of the icon.
pub(super) fn icon() -> String {
    format!("/console/assets/{}", ICON.name)
}

/// Answers with a file.
pub(super) async fn asset(Path(name): Path<String>) -> Response {
    let known = [&*STYLE, &*SCRIPT, &*ICON].into_iter().find(|asset| asset.name == name);
    match known {
        Some(asset) => {
            let headers = [
                (CONTENT_TYPE, asset.kind),
                (CACHE_CONTROL, "public, max-age=31536000, immutable"),
                (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ];
            (headers, asset.text).into_response()
        }
        None => (StatusCode::NOT_FOUND, "no such file\n").into_response(),
    }
}
