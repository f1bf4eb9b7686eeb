import { type Ref, useState } from "react";
import { agentOf, type Call } from "../call/call.ts";
import type { CallController } from "../call/controller.ts";
import { canChooseSpeaker, chosenDevice, type DeviceKind } from "../call/devices.ts";
import type { Microphone } from "../call/voice.ts";
import { Button } from "../ui/Button.tsx";
import { Icon } from "../ui/Icon.tsx";
import { LevelBar } from "../ui/LevelBar.tsx";
import { DeviceMenu } from "./DeviceMenu.tsx";
import { useDevices } from "./useDevices.ts";
import styles from "./VoiceBar.module.css";

interface VoiceBarProps {
  ref?: Ref<HTMLDivElement>;
  call: Call;
  controller: CallController;
}

/** Talking and hearing: the microphone on the left, what comes from the others on the right. */
export function VoiceBar({ ref, call, controller }: VoiceBarProps) {
  const on = call.voice.microphone.at === "on";
  const listed = useDevices(on);
  const [chosen, setChosen] = useState(() => ({
    microphone: chosenDevice("microphone"),
    speaker: chosenDevice("speaker"),
  }));
  const menu = (kind: DeviceKind) => (
    <DeviceMenu
      kind={kind}
      listed={listed}
      chosen={chosen[kind]}
      onChoose={(id) => {
        setChosen({ ...chosen, [kind]: id });
        controller.choose(kind, id);
      }}
    />
  );
  return (
    <div ref={ref} className={styles["voice"]}>
      <div role="group" aria-label="Microphone" className={styles["half"]}>
        <div className={styles["split"]}>
          <MicrophoneButton call={call} onPress={controller.toggleMicrophone} />
          {menu("microphone")}
        </div>
        <LevelBar label="Your level" live={on} read={controller.spokenLevel} />
      </div>
      <div role="group" aria-label="Sound" className={styles["half"]}>
        <LevelBar
          label={`Level of ${agentOf(call)?.name ?? "the others"}`}
          live={call.voice.heard > 0}
          read={controller.heardLevel}
        />
        <div className={styles["split"]}>
          <SoundButton silenced={call.voice.silenced} onPress={controller.toggleSound} />
          {canChooseSpeaker() ? menu("speaker") : null}
        </div>
      </div>
    </div>
  );
}

/** What a press does; how the button is called begins with what stands on it. */
const microphoneWords: Record<Microphone["at"], readonly [word: string, rest: string]> = {
  off: ["Turn on", " microphone"],
  asking: ["Asking", " for the microphone"],
  connecting: ["Connecting", " the microphone"],
  on: ["Mute", " microphone"],
  muted: ["Unmute", " microphone"],
};

function MicrophoneButton({ call, onPress }: { call: Call; onPress: () => void }) {
  const { at } = call.voice.microphone;
  const [word, rest] = microphoneWords[at];
  return (
    <Button
      look={at === "on" ? "active" : "plain"}
      aria-label={word + rest}
      // Pending rather than disabled: it keeps the focus.
      isPending={at === "asking" || at === "connecting"}
      isDisabled={call.connection.at === "joining"}
      onPress={onPress}
    >
      <Icon shape="microphone" off={at !== "on"} />
      <span>
        {word}
        {at === "off" ? <span className={styles["rest"]}>{rest}</span> : null}
      </span>
    </Button>
  );
}

function SoundButton({ silenced, onPress }: { silenced: boolean; onPress: () => void }) {
  const word = silenced ? "Unmute" : "Mute";
  return (
    <Button aria-label={`${word} sound`} onPress={onPress}>
      <Icon shape="speaker" off={silenced} />
      {word}
    </Button>
  );
}
