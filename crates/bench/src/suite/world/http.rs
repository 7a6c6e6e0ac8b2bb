//! The pages of a server's HTTP listener, and the samples of its metrics.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A page, over a new connection. Fails unless its status is 200.
pub(in super::super) async fn get(address: &str, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let status = text.lines().next().unwrap_or_default();
    anyhow::ensure!(status.starts_with("HTTP/1.1 200"), "{path} answered {status}");
    Ok(text)
}

/// The sum of those samples with this name that a condition accepts.
pub(in super::super) fn sum(metrics: &str, name: &str, accepts: impl Fn(&str) -> bool) -> f64 {
    let samples = metrics.lines().filter(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with([' ', '{'])) && accepts(line)
    });
    let values = samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    // The sum of no numbers would be minus zero.
    values.fold(0.0, |sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_a_metric_are_added() {
        let text = "attempts_total{error_class=\"none\"} 7\nattempts_total{error_class=\"timeout\"} 2\n\
                    attempts_total{error_class=\"reset\"} 1\nattempts_total_other 9\n";
        assert_eq!(sum(text, "attempts_total", |_| true), 10.0);
        assert_eq!(sum(text, "attempts_total", |line| !line.contains("\"none\"")), 3.0);
    }
}
