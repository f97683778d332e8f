// `havana view` as a person starts it: the address is what it prints.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

export class Server {
  /** @param {import("node:child_process").ChildProcess} process @param {string} url */
  constructor(process, url) {
    this.process = process;
    this.url = url;
  }

  /**
   * @param {string} program
   * @param {string} dataset
   * @param {string[]} where it listens: any free port of loopback, by default
   * @returns {Promise<Server>}
   */
  static start(program, dataset, where = ["--port", "0"]) {
    const child = spawn(program, ["view", dataset, "--no-open", ...where], { stdio: ["ignore", "pipe", "pipe"] });
    let complaint = "";
    child.stderr.on("data", (bytes) => (complaint += bytes));
    return new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("exit", (status) => reject(new Error(`havana view ended with status ${status}: ${complaint.trim()}`)));
      createInterface(child.stdout).on("line", (line) => {
        const address = /http:\/\/[\d.]+:\d+\/(\?token=\S+)?/.exec(line);
        if (address) resolve(new Server(child, address[0]));
      });
    });
  }

  /** @returns {Promise<void>} */
  stop() {
    return new Promise((resolve) => {
      if (this.process.exitCode !== null || this.process.signalCode !== null) return resolve();
      this.process.removeAllListeners("exit");
      this.process.on("exit", () => resolve());
      this.process.kill("SIGTERM");
    });
  }
}
