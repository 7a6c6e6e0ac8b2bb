//! A real headless browser: Chromium, driven by chromedriver over the WebDriver protocol, and over Chromium's own
//! protocol for what WebDriver lacks.

mod driver;
mod picture;

use std::time::Instant;

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use self::driver::Driver;
use crate::{DEADLINE, POLL, until};

/// The keys that users navigate a page with, in WebDriver's encoding.
pub const TAB: &str = "\u{E004}";
/// See [`TAB`].
pub const ENTER: &str = "\u{E007}";

/// A browser with an empty profile, which ends when this value is dropped.
pub struct Browser {
    driver: Driver,
}

impl Browser {
    /// Starts a browser.
    ///
    /// # Errors
    /// Fails if Chromium or chromedriver is not installed (`make test-setup`), or does not start.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(&[]).await
    }

    /// Starts a browser with additional arguments for Chromium.
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
    /// Fails if it does not load.
    pub async fn open(&self, url: &str) -> anyhow::Result<()> {
        self.driver.call("POST", "/url", json!({ "url": url })).await.map(drop)
    }

    /// The address of the current page.
    ///
    /// # Errors
    /// Fails if the browser does not answer.
    pub async fn url(&self) -> anyhow::Result<String> {
        let url = self.driver.call("GET", "/url", Value::Null).await?;
        Ok(url.as_str().unwrap_or_default().to_owned())
    }

    /// The visible text of the page.
    ///
    /// # Errors
    /// Fails if the browser does not answer.
    pub async fn text(&self) -> anyhow::Result<String> {
        let text = self.run("return document.body.innerText", json!([])).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Runs a script in the page. The page's policy does not apply to it.
    ///
    /// # Errors
    /// Fails if the script throws.
    pub async fn run(&self, script: &str, arguments: Value) -> anyhow::Result<Value> {
        let body = json!({ "script": script, "args": arguments });
        self.driver.call("POST", "/execute/sync", body).await
    }

    /// Runs a script that passes its result to its last argument.
    ///
    /// # Errors
    /// Fails if the script throws.
    pub async fn run_async(&self, script: &str) -> anyhow::Result<Value> {
        let body = json!({ "script": script, "args": [] });
        self.driver.call("POST", "/execute/async", body).await
    }

    /// Clicks a button, link or label whose text begins with this.
    ///
    /// # Errors
    /// Fails if there is none in time.
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

    /// Clicks the first element of a CSS selector.
    ///
    /// # Errors
    /// Fails if there is none in time.
    pub async fn click_css(&self, selector: &str) -> anyhow::Result<()> {
        self.click_found("css selector", selector).await
    }

    /// Replaces the text of a field.
    ///
    /// # Errors
    /// Fails if there is no such field in time.
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
    /// Fails if the browser does not answer.
    pub async fn press(&self, key: &str) -> anyhow::Result<()> {
        let strokes = [
            json!({ "type": "keyDown", "value": key }),
            json!({ "type": "keyUp", "value": key }),
        ];
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        let body = json!({ "actions": [keyboard] });
        self.driver.call("POST", "/actions", body).await.map(drop)
    }

    /// Opens another tab and shows it. Returns the tab that was shown before.
    ///
    /// # Errors
    /// Fails if the browser does not answer.
    pub async fn open_tab(&self) -> anyhow::Result<String> {
        let before = self.driver.call("GET", "/window", Value::Null).await?;
        let opened = self
            .driver
            .call("POST", "/window/new", json!({ "type": "tab" }))
            .await?;
        self.show_tab(opened["handle"].as_str().context("a tab")?).await?;
        Ok(before.as_str().unwrap_or_default().to_owned())
    }

    /// Shows a tab, and hides the others.
    ///
    /// # Errors
    /// Fails if the tab was closed.
    pub async fn show_tab(&self, tab: &str) -> anyhow::Result<()> {
        self.driver.call("POST", "/window", json!({ "handle": tab })).await?;
        self.chromium("Page.bringToFront", json!({})).await.map(drop)
    }

    /// Denies pages a permission, such as `clipboard-write`.
    ///
    /// # Errors
    /// Fails if the browser does not know the permission.
    pub async fn refuse(&self, permission: &str) -> anyhow::Result<()> {
        let refused = json!({ "permission": { "name": permission }, "setting": "denied" });
        self.chromium("Browser.setPermission", refused).await.map(drop)
    }

    /// Waits until a script's result is as expected, and returns it.
    ///
    /// # Panics
    /// Panics if it is not as expected in time.
    pub async fn wait_for_result(&self, script: &str, expected: impl Fn(&Value) -> bool) -> Value {
        until(script, async || {
            // A page that is being replaced runs no script.
            let result = self.run(script, json!([])).await.unwrap_or_default();
            if expected(&result) {
                return Ok(result);
            }
            Err(format!("{result} on\n{}", self.text().await.unwrap_or_default()))
        })
        .await
    }

    /// Waits until the page shows a text, and returns all its text.
    ///
    /// # Panics
    /// Panics if the page does not show it in time.
    pub async fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |shown| shown.contains(text)).await
    }

    /// Waits until the page's text is as expected.
    ///
    /// # Panics
    /// Panics if it is not as expected in time.
    pub async fn wait_until(&self, what: &str, expected: impl Fn(&str) -> bool) -> String {
        until(what, async || {
            // A page that is being replaced has no text.
            let shown = self.text().await.unwrap_or_default();
            if expected(&shown) {
                return Ok(shown);
            }
            Err(format!("{}:\n{shown}", self.url().await.unwrap_or_default()))
        })
        .await
    }

    /// Sets the size of the screen, and a light or dark color scheme.
    ///
    /// # Errors
    /// Fails if the browser does not answer.
    pub async fn look_like(&self, width: u32, height: u32, dark: bool) -> anyhow::Result<()> {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.chromium("Emulation.setDeviceMetricsOverride", metrics).await?;
        let scheme = json!({ "name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" } });
        self.chromium("Emulation.setEmulatedMedia", json!({ "features": [scheme] }))
            .await
            .map(drop)
    }

    /// Enters the page's first frame, which later calls read and click in.
    ///
    /// # Errors
    /// Fails if there is no frame.
    pub async fn enter_frame(&self) -> anyhow::Result<()> {
        self.driver.call("POST", "/frame", json!({ "id": 0 })).await.map(drop)
    }

    /// The cookies that the browser sends with the page, in WebDriver's form.
    ///
    /// # Errors
    /// Fails if the browser does not answer.
    pub async fn cookies(&self) -> anyhow::Result<Value> {
        self.driver.call("GET", "/cookie", Value::Null).await
    }

    /// Enables or disables scripts.
    ///
    /// # Errors
    /// Fails if the browser does not answer.
    pub async fn let_scripts_run(&self, run: bool) -> anyhow::Result<()> {
        let value = json!({ "value": !run });
        self.chromium("Emulation.setScriptExecutionDisabled", value)
            .await
            .map(drop)
    }

    /// The whole page as a PNG, with a height of at most `height_max`.
    ///
    /// # Errors
    /// Fails if the browser does not answer.
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
                // The element belongs to a part of the page that was replaced meanwhile.
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
