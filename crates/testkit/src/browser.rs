//! A real browser without a screen: Chromium, driven by chromedriver over the WebDriver protocol (and, for what that lacks,
//! Chromium's own).

mod driver;
mod picture;

use std::time::Instant;

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use self::driver::Driver;
use crate::{DEADLINE, POLL, until};

/// The keys that people go through a page with, as WebDriver names them.
pub const TAB: &str = "\u{E004}";
/// See [`TAB`].
pub const ENTER: &str = "\u{E007}";

/// A browser with an empty profile, ended when this value is dropped.
pub struct Browser {
    driver: Driver,
}

impl Browser {
    /// Starts one.
    ///
    /// # Errors
    /// When Chromium or chromedriver is not installed (`make test-setup`), or does not start.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(&[]).await
    }

    /// Starts one with more arguments for Chromium.
    ///
    /// # Errors
    /// As [`Browser::start`].
    pub async fn start_with(arguments: &[&str]) -> anyhow::Result<Self> {
        Ok(Self {
            driver: Driver::start(arguments).await?,
        })
    }

    /// Opens an address.
    ///
    /// # Errors
    /// When it does not load.
    pub async fn open(&self, url: &str) -> anyhow::Result<()> {
        self.driver.call("POST", "/url", json!({ "url": url })).await.map(drop)
    }

    /// The address of the page that is shown.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn url(&self) -> anyhow::Result<String> {
        let url = self.driver.call("GET", "/url", Value::Null).await?;
        Ok(url.as_str().unwrap_or_default().to_owned())
    }

    /// The text of the page, as a reader sees it.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn text(&self) -> anyhow::Result<String> {
        let text = self.run("return document.body.innerText", json!([])).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Runs a script in the page. A page's policy does not concern it.
    ///
    /// # Errors
    /// When it throws.
    pub async fn run(&self, script: &str, arguments: Value) -> anyhow::Result<Value> {
        let body = json!({ "script": script, "args": arguments });
        self.driver.call("POST", "/execute/sync", body).await
    }

    /// Runs a script that hands its result to its last argument.
    ///
    /// # Errors
    /// When it throws.
    pub async fn run_async(&self, script: &str) -> anyhow::Result<Value> {
        let body = json!({ "script": script, "args": [] });
        self.driver.call("POST", "/execute/async", body).await
    }

    /// Clicks what a person would: a button, link or label with this text.
    ///
    /// # Errors
    /// When there is none after a while.
    pub async fn click(&self, text: &str) -> anyhow::Result<()> {
        let literal = if text.contains('\'') {
            format!("\"{text}\"")
        } else {
            format!("'{text}'")
        };
        let path = format!(
            "//*[self::a or self::button or self::summary or self::label][starts-with(normalize-space(.), {literal})]"
        );
        self.click_found("xpath", &path).await
    }

    /// Clicks what a CSS selector finds first.
    ///
    /// # Errors
    /// When there is nothing after a while.
    pub async fn click_css(&self, selector: &str) -> anyhow::Result<()> {
        self.click_found("css selector", selector).await
    }

    /// Types into a field, after what is there was removed.
    ///
    /// # Errors
    /// When there is no such field after a while.
    pub async fn fill(&self, selector: &str, text: &str) -> anyhow::Result<()> {
        let element = self.find("css selector", selector).await?;
        self.driver
            .call("POST", &format!("/element/{element}/clear"), json!({}))
            .await?;
        let body = json!({ "text": text });
        self.driver
            .call("POST", &format!("/element/{element}/value"), body)
            .await
            .map(drop)
    }

    /// Presses a key.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn press(&self, key: &str) -> anyhow::Result<()> {
        let strokes = [
            json!({ "type": "keyDown", "value": key }),
            json!({ "type": "keyUp", "value": key }),
        ];
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        let body = json!({ "actions": [keyboard] });
        self.driver.call("POST", "/actions", body).await.map(drop)
    }

    /// Opens another tab and shows it; returns the one that was shown before.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn open_tab(&self) -> anyhow::Result<String> {
        let before = self.driver.call("GET", "/window", Value::Null).await?;
        let opened = self
            .driver
            .call("POST", "/window/new", json!({ "type": "tab" }))
            .await?;
        self.show_tab(opened["handle"].as_str().context("a tab")?).await?;
        Ok(before.as_str().unwrap_or_default().to_owned())
    }

    /// Shows a tab; the others are hidden.
    ///
    /// # Errors
    /// When it was closed.
    pub async fn show_tab(&self, tab: &str) -> anyhow::Result<()> {
        self.driver.call("POST", "/window", json!({ "handle": tab })).await?;
        self.chromium("Page.bringToFront", json!({})).await.map(drop)
    }

    /// Refuses pages something that they need a permission for, such as `clipboard-write`.
    ///
    /// # Errors
    /// When the browser knows no such permission.
    pub async fn refuse(&self, permission: &str) -> anyhow::Result<()> {
        let refused = json!({ "permission": { "name": permission }, "setting": "denied" });
        self.chromium("Browser.setPermission", refused).await.map(drop)
    }

    /// Waits until a script's result is as expected, and returns it.
    ///
    /// # Panics
    /// When it does not come to be so in time.
    pub async fn wait_for_result(&self, script: &str, expected: impl Fn(&Value) -> bool) -> Value {
        until(script, async || {
            // A page that is just being replaced runs nothing.
            let result = self.run(script, json!([])).await.unwrap_or_default();
            if expected(&result) {
                return Ok(result);
            }
            Err(format!("{result} on\n{}", self.text().await.unwrap_or_default()))
        })
        .await
    }

    /// Waits until the page shows a text, and returns all that it shows.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |shown| shown.contains(text)).await
    }

    /// Waits until what the page shows is as expected.
    ///
    /// # Panics
    /// When it does not come to be so in time.
    pub async fn wait_until(&self, what: &str, expected: impl Fn(&str) -> bool) -> String {
        until(what, async || {
            // A page that is just being replaced has no text.
            let shown = self.text().await.unwrap_or_default();
            if expected(&shown) {
                return Ok(shown);
            }
            Err(format!("{}:\n{shown}", self.url().await.unwrap_or_default()))
        })
        .await
    }

    /// Shows pages as on a screen of this size, in light or dark.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn look_like(&self, width: u32, height: u32, dark: bool) -> anyhow::Result<()> {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.chromium("Emulation.setDeviceMetricsOverride", metrics).await?;
        let scheme = json!({ "name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" } });
        self.chromium("Emulation.setEmulatedMedia", json!({ "features": [scheme] }))
            .await
            .map(drop)
    }

    /// Looks into the page's first frame: what is read and clicked next is in it.
    ///
    /// # Errors
    /// When there is none.
    pub async fn enter_frame(&self) -> anyhow::Result<()> {
        self.driver.call("POST", "/frame", json!({ "id": 0 })).await.map(drop)
    }

    /// The cookies that the page is sent with, each as WebDriver describes it.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn cookies(&self) -> anyhow::Result<Value> {
        self.driver.call("GET", "/cookie", Value::Null).await
    }

    /// Lets pages run scripts, or not.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn let_scripts_run(&self, run: bool) -> anyhow::Result<()> {
        let value = json!({ "value": !run });
        self.chromium("Emulation.setScriptExecutionDisabled", value)
            .await
            .map(drop)
    }

    /// The whole page as a PNG, `height_max` at most.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn screenshot(&self, width: u32, height_max: u32) -> anyhow::Result<Vec<u8>> {
        let height = self
            .run("return document.documentElement.scrollHeight", json!([]))
            .await?;
        let height = height
            .as_u64()
            .unwrap_or(u64::from(height_max))
            .min(u64::from(height_max));
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 1 });
        let settings = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let shot = self.chromium("Page.captureScreenshot", settings).await?;
        picture::with_palette(&STANDARD.decode(shot["data"].as_str().context("a picture")?)?)
    }

    async fn chromium(&self, command: &str, parameters: Value) -> anyhow::Result<Value> {
        let body = json!({ "cmd": command, "params": parameters });
        self.driver.call("POST", "/goog/cdp/execute", body).await
    }

    async fn click_found(&self, strategy: &str, selector: &str) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let element = self.find(strategy, selector).await?;
            let clicked = self
                .driver
                .call("POST", &format!("/element/{element}/click"), json!({}))
                .await;
            match clicked {
                Ok(_) => return Ok(()),
                // A part of the page that was replaced meanwhile.
                Err(error) if error.to_string().contains("stale element") && begun.elapsed() < DEADLINE => {}
                Err(error) => return Err(error.context(format!("clicking {selector}"))),
            }
        }
    }

    async fn find(&self, strategy: &str, selector: &str) -> anyhow::Result<String> {
        let begun = Instant::now();
        loop {
            let body = json!({ "using": strategy, "value": selector });
            match self.driver.call("POST", "/element", body).await {
                Ok(found) => {
                    let id = found.as_object().and_then(|found| found.values().next());
                    return Ok(id.and_then(Value::as_str).unwrap_or_default().to_owned());
                }
                Err(_) if begun.elapsed() < DEADLINE => tokio::time::sleep(POLL).await,
                Err(error) => {
                    let (url, text) = (self.url().await?, self.text().await?);
                    bail!("{selector} is not there: {error}\n{url} shows:\n{text}");
                }
            }
        }
    }
}
