import { Header, Menu, MenuItem, MenuSection, MenuTrigger, Popover } from "react-aria-components";
import { areHidden, type DeviceKind, devicesOf, type ListedDevice } from "../call/devices.ts";
import { Button } from "../ui/Button.tsx";
import { Icon } from "../ui/Icon.tsx";
import styles from "./DeviceMenu.module.css";

interface DeviceMenuProps {
  kind: DeviceKind;
  listed: readonly ListedDevice[];
  chosen: string;
  onChoose: (id: string) => void;
}

/** Which microphone or speaker to use. */
export function DeviceMenu({ kind, listed, chosen, onChoose }: DeviceMenuProps) {
  const devices = devicesOf(kind, listed);
  // One that was unplugged is still remembered; until it is back, the system chooses.
  const selected = devices.some((device) => device.id === chosen) ? chosen : "";
  return (
    <MenuTrigger>
      <Button aria-label={`Choose ${kind}`}>
        <Icon shape="down" />
      </Button>
      <Popover className={styles["popover"] ?? ""} placement="top start">
        <Menu className={styles["menu"] ?? ""} aria-label={titles[kind]}>
          <MenuSection
            selectionMode="single"
            disallowEmptySelection
            selectedKeys={[keyOf(selected)]}
            onSelectionChange={(keys) => {
              if (keys === "all") return;
              for (const key of keys) onChoose(String(key).slice(prefix.length));
            }}
          >
            <Header className={styles["title"] ?? ""}>
              {titles[kind]}
              {areHidden(kind, listed) ? (
                <span className={styles["hint"]}>Listed once the microphone is on</span>
              ) : null}
            </Header>
            {devices.map(({ id, label }) => (
              <MenuItem key={keyOf(id)} id={keyOf(id)} textValue={label} className={styles["item"] ?? ""}>
                {label}
              </MenuItem>
            ))}
          </MenuSection>
        </Menu>
      </Popover>
    </MenuTrigger>
  );
}

const titles: Record<DeviceKind, string> = { microphone: "Microphone", speaker: "Speaker" };

// React Aria takes an empty key for none.
const prefix = "device:";

function keyOf(id: string): string {
  return prefix + id;
}
