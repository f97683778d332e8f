// `havana view` as a person starts it: the address is what it prints.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

export class Server {
  /** @param {import("node:child_process").ChildProcess} process @param {string} printed */
  constructor(process, printed) {
    this.process = process;
    /** As it is printed: it may say what of the page is seen first. */
    this.printed = printed;
    this.url = printed.replace(/#.*/, "");
  }

  /**
   * @param {string} program
   * @param {string} dataset
   * @param {string[]} where it listens: any free port of loopback, by default
   * @returns {Promise<Server>}
   */
  static start(program, dataset, where = ["--port", "0"]) {
    return Server.run(program, ["view", dataset, "--no-open", ...where]);
  }

  /**
   * A command that serves the view.
   * @param {string} program
   * @param {string[]} args
   * @returns {Promise<Server>}
   */
  static run(program, args) {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    let complaint = "";
    child.stderr.on("data", (bytes) => (complaint += bytes));
    return new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("exit", (status) => reject(new Error(`havana ${args[0]} ended with status ${status}: ${complaint.trim()}`)));
      createInterface(child.stdout).on("line", (line) => {
        const address = /http:\/\/[\d.]+:\d+\/\S*/.exec(line);
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
