//! Waiting for the ports of a pod.

use super::pod::Pod;
use std::time::Duration;
use tokio::net::TcpStream;

/// Pauses between attempts to connect; a pod that listens is noticed at once where its calls are seen.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// Answers when every port accepts connections. Waits for ever.
pub(super) async fn ports_open(pod: &Pod, ports: &[u16]) {
    for port in ports {
        let mut pause = FIRST_PAUSE;
        loop {
            // Registered before the attempt, so that a call between the attempt and the wait is not missed.
            let listening = pod.listening.notified();
            tokio::pin!(listening);
            listening.as_mut().enable();
            if TcpStream::connect((pod.sandbox.ip, *port)).await.is_ok() {
                break;
            }
            tokio::select! {
                biased;
                () = listening => {
                    // The call is announced before the kernel performs it.
                    pause = FIRST_PAUSE;
                    tokio::time::sleep(FIRST_PAUSE).await;
                }
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LAST_PAUSE),
            }
        }
    }
}
