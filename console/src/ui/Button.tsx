import { Button as AriaButton, type ButtonProps as AriaButtonProps } from "react-aria-components";
import styles from "./Button.module.css";

interface ButtonProps extends Omit<AriaButtonProps, "className"> {
  look?: "primary" | "plain" | "active" | "danger" | "quiet";
  wide?: boolean;
}

export function Button({ look = "plain", wide = false, ...props }: ButtonProps) {
  return <AriaButton {...props} className={[styles["button"], styles[look], wide ? styles["wide"] : ""].join(" ")} />;
}
