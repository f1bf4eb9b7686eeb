import styles from "./Introduction.module.css";

/** What stands where the conversation will be. */
export function Introduction() {
  return (
    <div className={styles["introduction"]}>
      <h2>Talk to an agent</h2>
      <ol className={styles["steps"]}>
        <li>Pick one on the left and join. Each call gets a room of its own.</li>
        <li>Type, or turn on the microphone and talk. What is said on both sides appears here word by word.</li>
        <li>Its state, its tool calls and how long it took to answer stand beside the words.</li>
      </ol>
    </div>
  );
}
